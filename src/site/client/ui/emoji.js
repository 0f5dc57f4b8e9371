// @ts-check
// The grid of emoji to choose from.

import { t } from '../i18n.js';
import { h } from './dom.js';
import { openMenu } from './layers.js';

const EMOJI = '👍 ❤️ 😂 😮 😢 🙏 🎉 🔥 👏 😀 😅 😉 😊 😍 🤔 😎 😭 😡 👋 💪 👀 ✅ ❌ 💯'.split(' ');

/**
 * @param {HTMLElement} anchor
 * @param {(emoji: string) => void} chosen
 */
export function pickEmoji(anchor, chosen) {
  openMenu(anchor, [], {
    label: t('msg.react'),
    head: (close) => {
      /** @param {string} emoji */
      const choose = (emoji) => {
        close(true);
        chosen(emoji);
      };
      const props = { type: 'button', role: 'menuitem', tabindex: '-1', testid: 'emoji' };
      return h(
        'div.emoji-grid',
        null,
        EMOJI.map((emoji) => h('button', { ...props, onclick: () => choose(emoji) }, emoji)),
      );
    },
  });
}
