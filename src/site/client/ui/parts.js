// @ts-check
// Small parts that several views show: faces, buttons.

import { firstSign } from '../util.js';
import { h } from './dom.js';
import { icon } from './icons.js';

/** @param {{id?: string, name?: string, image?: string | null, size?: string, online?: boolean}} options */
export function avatar({ id, name, image, size = '', online }) {
  const words = (name || '?').trim().split(/\s+/);
  const [first] = words;
  const last = words[words.length - 1];
  const initials = words.length > 1 ? `${firstSign(first)}\u200c${firstSign(last)}` : firstSign(first);
  let hue = 0;
  for (const letter of id ?? name ?? '') hue = (hue * 31 + (letter.codePointAt(0) ?? 0)) % 360;
  const face = h(`span.avatar${size ? `.${size}` : ''}`, {
    'aria-hidden': 'true',
    data: { initials: initials.toLocaleUpperCase() },
  });
  face.style.setProperty('--hue', String(hue));
  if (image) {
    /** @type {HTMLImageElement} */
    const img = h('img', {
      alt: '',
      src: image,
      decoding: 'async',
      loading: 'lazy',
      draggable: false,
      onerror: () => img.remove(),
    });
    face.append(img);
  }
  if (online) face.append(h('span.presence'));
  return face;
}

/**
 * @param {string} testid
 * @param {string} label
 * @param {() => unknown} onclick
 */
export const link = (testid, label, onclick) => h('button.link', { type: 'button', testid, onclick }, label);
/**
 * @param {string} testid
 * @param {string} label
 * @param {() => unknown} onclick
 */
export const button = (testid, label, onclick) => h('button.button', { type: 'button', testid, onclick }, label);

/** @param {string} label */
export const spinner = (label) => h('div.spinner', { role: 'status', 'aria-label': label });

const EXTENDED = '[\\uFE0F\\p{Emoji_Modifier}\\u{e0020}-\\u{e007f}]|\\u200D\\p{Extended_Pictographic}';
const EMOJI_ONLY = new RegExp(`^(?:(?:\\p{RI}{2}|\\p{Extended_Pictographic}(?:${EXTENDED})*)\\s*){1,3}$`, 'u');

/** @param {string} text */
export const isEmojiOnly = (text) => EMOJI_ONLY.test(text.trim());

/**
 * @param {string} name of its icon
 * @param {string} label
 * @param {string} testid
 * @param {() => unknown} onclick
 */
export const actionRow = (name, label, testid, onclick, danger = false) =>
  h(
    `button.action-row${danger ? '.danger' : ''}`,
    { type: 'button', testid, onclick },
    h('span.action-icon', null, icon(name)),
    label,
  );

const PICTURES = 'image/jpeg,image/png,image/gif,image/webp,image/avif';

/**
 * A hidden field for one picture; `chosen` gets it.
 * @param {string} testid
 * @param {string} label
 * @param {(file: File) => unknown} chosen
 */
export function pictureChooser(testid, label, chosen) {
  const input = h('input', {
    type: 'file',
    accept: PICTURES,
    hidden: true,
    tabindex: '-1',
    testid,
    'aria-label': label,
  });
  input.addEventListener('change', async () => {
    const file = input.files?.[0];
    if (file) await chosen(file);
    input.value = '';
  });
  return input;
}
