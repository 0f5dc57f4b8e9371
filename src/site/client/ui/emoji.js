// @ts-check
// The picker of emoji: all of them in their groups, a search by name, and skin tones.
//
// Owns the keys `emoji` (those that were chosen last) and `tone` of the local storage.

import { TONES, loadEmoji, searchEmoji, toned } from '../emoji.js';
import { lang, t } from '../i18n.js';
import { debounce, local } from '../util.js';
import { h } from './dom.js';
import { icon } from './icons.js';
import { notLoaded, openPopover } from './layers.js';
import { spinner } from './parts.js';

/** @typedef {import('../emoji.js').Entry} Entry */
/** @typedef {import('../emoji.js').Group} Group */

const USUAL = '👍 ❤️ 😂 😮 😢 🙏 🎉 🔥 👏 😀 😅 😉 😊 😍 🤔 😎 😭 😡 👋 💪 👀 ✅ ❌ 💯'.split(' ');
const RECENT_MAX = 24;
const FOUND_MAX = 200;
const SEARCH_AFTER_MS = 80;
/** @type {Record<string, string>} */
const SIGNS = {
  recent: '🕘',
  smileys: '😀',
  people: '👋',
  nature: '🐻',
  food: '🍔',
  travel: '🚗',
  activities: '⚽',
  objects: '💡',
  symbols: '❤️',
  flags: '🏁',
};

function recent() {
  const chosen = (local.get('emoji') ?? '').split(' ').filter(Boolean);
  return [...new Set([...chosen, ...USUAL])].slice(0, RECENT_MAX);
}

/**
 * @param {HTMLElement} anchor
 * @param {(emoji: string) => void} chosen
 */
export function pickEmoji(anchor, chosen) {
  const close = openPopover(anchor, (close) => {
    /** @param {string} emoji */
    const choose = (emoji) => {
      local.set('emoji', [emoji, ...recent().filter((other) => other !== emoji)].join(' '));
      close(true);
      chosen(emoji);
    };
    return pickerOf(choose, close, () => close(true));
  });
  loadEmoji().catch(() => {
    close(true);
    notLoaded();
  });
}

/**
 * @param {(emoji: string) => void} choose
 * @param {(refocus: boolean) => void} close
 * @param {() => void} leave
 */
function pickerOf(choose, close, leave) {
  /** @type {Group[]} */
  let groups = [];
  let tone = Number(local.get('tone')) || 0;
  const input = h('input', {
    type: 'search',
    'aria-label': t('emoji.search'),
    placeholder: t('emoji.search'),
    dir: 'auto',
    autocomplete: 'off',
    testid: 'emoji-search',
    'aria-controls': 'emoji-list',
  });
  const list = h('div.emoji-list', { role: 'listbox', id: 'emoji-list', 'aria-label': t('msg.react') });
  const note = h('p.empty.quiet', { role: 'status', hidden: true }, t('emoji.none'));
  const tabs = h('div.emoji-tabs');
  const tones = h('div.emoji-tones', { role: 'group', 'aria-label': t('emoji.tone') });

  /** @param {Entry} entry */
  const option = (entry) => optionOf(toned(entry, tone), entry.names[lang()] || entry.names.en);
  /**
   * @param {string} emoji
   * @param {string} name
   */
  const optionOf = (emoji, name) =>
    h(
      'button.emoji',
      {
        type: 'button',
        role: 'option',
        'aria-selected': 'false',
        tabindex: '-1',
        title: name,
        'aria-label': name,
        testid: 'emoji',
      },
      emoji,
    );
  /**
   * @param {string} name
   * @param {HTMLElement[]} options
   */
  const section = (name, options) => {
    const label = t(`emoji.group_${name}`);
    const title = h('h3', { 'aria-hidden': 'true' }, label);
    return h(
      'div.emoji-group',
      { role: 'group', 'aria-label': label, data: { group: name } },
      title,
      h('div.emoji-grid', { role: 'presentation' }, options),
    );
  };

  function drawAll() {
    const byEmoji = new Map(groups.flatMap(({ entries }) => entries.map((entry) => [entry.emoji, entry.names])));
    /** @param {string} emoji */
    const nameOf = (emoji) => {
      const names = byEmoji.get(emoji) ?? byEmoji.get(emoji.replace(/\p{Emoji_Modifier}/gu, ''));
      return names?.[lang()] || names?.en || emoji;
    };
    show(
      section(
        'recent',
        recent().map((emoji) => optionOf(emoji, nameOf(emoji))),
      ),
      ...groups.map(({ name, entries }) => section(name, entries.map(option))),
    );
  }

  /** @param {HTMLElement[]} parts */
  function show(...parts) {
    list.replaceChildren(...parts);
    list.scrollTop = 0;
    const first = list.querySelector('button');
    if (first) first.tabIndex = 0;
    note.hidden = Boolean(first);
  }

  const draw = () => {
    if (!groups.length) return;
    if (!input.value.trim()) return drawAll();
    const found = searchEmoji(groups, input.value).slice(0, FOUND_MAX).map(option);
    show(...(found.length ? [h('div.emoji-grid', { role: 'presentation' }, found)] : []));
  };

  function drawTones() {
    tones.replaceChildren(
      ...TONES.map((sign, index) => {
        const label = t(`emoji.tone_${index}`);
        const onclick = () => {
          tone = index;
          local.set('tone', String(index));
          drawTones();
          draw();
        };
        const props = {
          type: 'button',
          title: label,
          'aria-label': label,
          'aria-pressed': String(index === tone),
          onclick,
        };
        return h('button', props, `✋${sign}`);
      }),
    );
  }

  function drawTabs() {
    tabs.replaceChildren(
      ...['recent', ...groups.map(({ name }) => name)].map((name) => {
        const label = t(`emoji.group_${name}`);
        const onclick = () => {
          if (input.value) {
            input.value = '';
            drawAll();
          }
          list.querySelector(`[data-group=${name}]`)?.scrollIntoView({ block: 'start' });
        };
        return h('button', { type: 'button', title: label, 'aria-label': label, onclick }, SIGNS[name]);
      }),
    );
  }

  /** @param {HTMLButtonElement | undefined} next */
  function focusOn(next) {
    if (!next) return input.focus();
    for (const old of list.querySelectorAll('[tabindex="0"]')) /** @type {HTMLElement} */ (old).tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
    return undefined;
  }

  /** @param {KeyboardEvent} event */
  function keyed(event) {
    if (event.isComposing || event.keyCode === 229) return;
    const all = [...list.querySelectorAll('button')];
    const at = all.indexOf(/** @type {HTMLButtonElement} */ (document.activeElement));
    if (event.key === 'Escape') leave();
    else if (event.target === input) {
      if (event.key === 'ArrowDown') focusOn(all[0]);
      else if (event.key === 'Enter' && input.value.trim()) all[0]?.click();
      else if (event.key !== 'Enter') return event.stopPropagation();
    } else if (at >= 0 && event.key.startsWith('Arrow')) focusOn(all[neighbour(all, at, event.key)]);
    else return event.stopPropagation();
    event.preventDefault();
    event.stopPropagation();
    return undefined;
  }

  const head = h('div.emoji-head', null, h('div.search-box', null, icon('search'), input), tabs);
  const waiting = spinner(t('app.loading'));
  list.append(waiting);
  list.addEventListener('click', ({ target }) => {
    const button = target instanceof Element && target.closest('button');
    if (button) choose(button.textContent ?? '');
  });
  input.addEventListener('input', debounce(draw, SEARCH_AFTER_MS));
  drawTones();
  loadEmoji().then(
    (loaded) => {
      groups = loaded;
      drawTabs();
      draw();
    },
    () => close(false),
  );
  const element = h(
    'div.menu.picker',
    { role: 'dialog', 'aria-label': t('msg.react'), testid: 'menu', onkeydown: keyed },
    head,
    list,
    note,
    tones,
  );
  // A keyboard on the glass would cover half of the emoji.
  if (matchMedia('(hover: hover)').matches) queueMicrotask(() => input.focus());
  return element;
}

/**
 * @param {HTMLElement[]} all
 * @param {number} at
 * @param {string} key
 */
function neighbour(all, at, key) {
  const forward = document.documentElement.dir === 'rtl' ? 'ArrowLeft' : 'ArrowRight';
  if (key === 'ArrowLeft' || key === 'ArrowRight') return Math.max(0, at + (key === forward ? 1 : -1));
  const { left, top } = all[at].getBoundingClientRect();
  const step = key === 'ArrowDown' ? 1 : -1;
  // The nearest row in this direction, and in it the same column.
  let best = -1;
  let row = Number.NaN;
  for (let i = at + step; i >= 0 && i < all.length; i += step) {
    const place = all[i].getBoundingClientRect();
    if (place.top === top) continue;
    if (!Number.isNaN(row) && place.top !== row) break;
    row = place.top;
    if (best < 0 || Math.abs(place.left - left) < Math.abs(all[best].getBoundingClientRect().left - left)) best = i;
  }
  if (best >= 0) return best;
  return step > 0 ? all.length - 1 : -1;
}
