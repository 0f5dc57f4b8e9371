// @ts-check
// The grid of emoji to choose from.

import { t } from '../i18n.js';
import { h } from './dom.js';
import { openMenu } from './layers.js';

const EMOJI = '👍 ❤️ 😂 😮 😢 🙏 🎉 🔥 👏 😀 😅 😉 😊 😍 🤔 😎 😭 😡 👋 💪 👀 ✅ ❌ 💯'.split(' ');

export function pickEmoji(anchor, chosen) {
  let grid;
  const finish = openMenu(anchor, [], {
    label: t('msg.react'),
    head: (close) =>
      (grid = h(
        'div.emoji-grid',
        null,
        EMOJI.map((emoji) =>
          h(
            'button',
            {
              type: 'button',
              role: 'menuitem',
              tabindex: '-1',
              testid: 'emoji',
              onclick: () => {
                close(true);
                chosen(emoji);
              },
            },
            emoji,
          ),
        ),
      )),
  });
  return () => grid.isConnected && finish(false);
}
