// @ts-check
// The head of a conversation: who it is with, and what they do.

import { ago, t } from '../../i18n.js';
import { model } from '../../state/model.js';
import { h } from '../dom.js';
import { iconButton } from '../icons.js';
import { openInfo } from '../info.js';
import { typingWords } from '../words.js';

/** @typedef {import('./source.js').Source} Source */

/**
 * @param {Source} source
 * @param {import('../shell.js').Shell} shell
 */
export function chatHead(source, shell) {
  const element = h('header.chat-head');
  const info = () => openInfo({ conversation: source.conversation, profile: source.peer, shell });

  /** @param {string[]} typists */
  function draw(typists) {
    const line = lineOf(source, typists);
    const sign = [source.name, line, isOnline(source), source.image].join('|');
    if (element.dataset.sign === sign) return;
    element.dataset.sign = sign;
    const { conversation } = source;
    const who = h(
      'button.chat-who',
      { type: 'button', testid: 'chat-title', title: t('chat.details'), onclick: info },
      source.face({ online: isOnline(source) }),
      h(
        'span.chat-names',
        null,
        h('span.chat-name.line', { dir: 'auto' }, source.name),
        h(`span.chat-line.line${typists.length ? '.accent' : ''}`, { testid: 'chat-line', dir: 'auto' }, line),
      ),
    );
    const back = { testid: 'chat-back', class: 'icon-button chat-back', onclick: () => shell.go('#/') };
    const search = { testid: 'chat-search', onclick: () => conversation && shell.searchIn(conversation) };
    element.replaceChildren(
      iconButton('back', t('back'), back),
      h('h1.chat-title', null, who),
      ...(conversation ? [iconButton('search', t('search.here'), search)] : []),
      iconButton('info', t('chat.details'), { testid: 'chat-info', onclick: info }),
    );
  }

  return { element, draw };
}

/** @param {Source} source */
const isOnline = ({ peer }) => Boolean(peer && model.presence.get(peer.id)?.online);

/**
 * @param {Source} source
 * @param {string[]} typists
 */
function lineOf({ conversation, peer }, typists) {
  if (typists.length) return typingWords(typists);
  if (conversation?.type === 'group') return t('people.members', { count: conversation.members_count });
  const presence = peer && model.presence.get(peer.id);
  if (presence?.online) return t('people.online');
  if (presence?.last_seen_at) return t('people.seen', { when: ago(presence.last_seen_at) });
  return peer?.nick_name ? `@${peer.nick_name}` : '';
}
