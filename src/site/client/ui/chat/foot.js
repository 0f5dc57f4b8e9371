// @ts-check
// The foot of a conversation: the composer, or why nothing can be written.

import { t } from '../../i18n.js';
import { model } from '../../state/model.js';
import { h } from '../dom.js';
import { failed } from '../layers.js';
import { button } from '../parts.js';

/**
 * @param {import('./source.js').Source} source
 * @param {HTMLElement} writer
 */
export function chatFoot(source, writer) {
  const element = h('div.chat-foot');

  function blockedNote() {
    const { peer } = source;
    const unblock = button('chat-unblock', t('info.unblock'), () => peer && model.block(peer, false).catch(failed));
    return h('div.foot-note', null, h('span', null, t('chat.blocked', { name: source.name })), unblock);
  }

  const kinds = {
    blocked: blockedNote,
    gone: () => h('div.foot-note', null, t('people.deleted')),
    writer: () => writer,
  };

  /** @returns {keyof typeof kinds} */
  function kindOf() {
    if (source.isGroup) return 'writer';
    if (!source.peer) return 'gone';
    return model.blocked.has(source.peer.id) ? 'blocked' : 'writer';
  }

  function draw() {
    const kind = kindOf();
    if (element.dataset.kind === kind) return;
    element.dataset.kind = kind;
    element.replaceChildren(kinds[kind]());
  }

  return { element, draw, mayWrite: () => element.dataset.kind === 'writer' };
}
