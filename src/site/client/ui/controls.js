// @ts-check
// Controls of the settings: a switch, and one choice of a few.

import { h } from './dom.js';
import { failed } from './layers.js';

/**
 * @param {{label: string, hint: string, value: boolean | undefined, testid: string,
 *   change: (value: boolean) => Promise<void>}} options
 */
export function toggleRow({ label, hint, value, testid, change }) {
  const box = h('input', { type: 'checkbox', role: 'switch', checked: Boolean(value), testid });
  box.addEventListener('change', async () => {
    try {
      await change(box.checked);
    } catch (error) {
      box.checked = !box.checked;
      failed(error);
    }
  });
  return h('label.toggle', null, h('span', null, h('span', null, label), h('span.quiet', null, hint)), box);
}

/**
 * @param {string} legend
 * @param {string} name
 * @param {Array<[key: string, label: string, language?: string]>} options
 * @param {string} value
 * @param {(key: string) => void} change
 */
export function choices(legend, name, options, value, change) {
  /** @param {[key: string, label: string, language?: string]} option */
  const choice = ([key, label, of]) => {
    const props = { type: 'radio', name, value: key, checked: key === value, testid: `${name}-${key}` };
    return h('label', { lang: of }, h('input', { ...props, onchange: () => change(key) }), h('span', null, label));
  };
  return h('fieldset.choices', null, h('legend', null, legend), h('div.segments', null, options.map(choice)));
}
