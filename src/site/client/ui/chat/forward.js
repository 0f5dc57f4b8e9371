// @ts-check
// Where a message is forwarded to: one of the member's conversations.

import { t } from '../../i18n.js';
import { model } from '../../state/model.js';
import { h } from '../dom.js';
import { icon } from '../icons.js';
import { failed, openDialog } from '../layers.js';
import { preview, titleOf } from '../words.js';
import { Source } from './source.js';

/** @typedef {import('../../../types.d.ts').Message} Message */
/** @typedef {import('../shell.js').Conversation} Conversation */

/** @param {Conversation} conversation */
const takesPosts = ({ type, peer }) => type === 'group' || Boolean(peer && !model.blocked.has(peer.id));

/**
 * The conversations whose titles have the text.
 * @param {string} text
 */
function matching(text) {
  const part = text.trim().toLowerCase();
  return model.sorted().filter((it) => takesPosts(it) && titleOf(it).toLowerCase().includes(part));
}

/** @param {Message} message */
export function openForward(message) {
  openDialog({
    title: t('msg.forward_to'),
    testid: 'forward-dialog',
    build: ({ close }) => {
      /** @param {Conversation} conversation */
      const choose = async (conversation) => {
        close();
        await model.forward(message, conversation);
        location.hash = `#/c/${conversation.id}`;
      };
      const list = h('ul.people');
      const none = h('p.quiet.center', { role: 'status' });
      const draw = () => {
        const found = matching(input.value);
        none.textContent = found.length ? '' : t('msg.forward_none');
        list.replaceChildren(...found.map((it) => row(it, () => choose(it).catch(failed))));
      };
      /** @type {HTMLInputElement} */
      const input = h('input', {
        type: 'search',
        placeholder: t('msg.forward_search'),
        'aria-label': t('msg.forward_search'),
        dir: 'auto',
        autocomplete: 'off',
        testid: 'forward-search',
        oninput: draw,
      });
      draw();
      const what = h('p.quiet.line', { dir: 'auto' }, preview(message));
      queueMicrotask(() => input.focus());
      return [what, h('div.search-box', null, icon('search'), input), none, list];
    },
  });
}

/**
 * @param {Conversation} conversation
 * @param {() => void} onclick
 */
function row(conversation, onclick) {
  const props = { type: 'button', testid: 'forward-to', data: { conversation: conversation.id }, onclick };
  const name = h('span.person-name.line', { dir: 'auto' }, titleOf(conversation));
  const face = new Source({ conversation }).face();
  return h('li.person', null, h('button.person-main', props, face, h('span.person-text', null, name)));
}
