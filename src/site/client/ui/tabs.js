// @ts-check
// A dialog with tabs: one strip, and the panel of the tab that is on.

import { h, those } from './dom.js';
import { icon } from './icons.js';

/** @type {Record<string, number>} */
const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

/**
 * @template {string} Tab
 * @param {object} options
 * @param {string} options.prefix of the ids
 * @param {string} options.title
 * @param {Array<[tab: Tab, label: string, picture: string]>} options.tabs
 * @param {Tab} options.first
 * @param {(tab: Tab, show: (tab: Tab) => void) => import('./dom.js').Child[]} options.fill
 */
export function tabbed({ prefix, title, tabs, first, fill }) {
  const id = `${prefix}panel`;
  const panel = h('div.tab-panel', { role: 'tabpanel', id, tabindex: '-1' });
  const buttons = tabs.map(([name, label, picture]) => {
    const own = `${prefix}${name}`;
    const props = { type: 'button', role: 'tab', testid: own, id: own, 'aria-controls': id, onclick: () => show(name) };
    return h('button.tab', props, icon(picture), h('span', null, label));
  });
  /** @param {Tab} name */
  const show = (name) => {
    for (const tab of buttons) {
      const isOn = tab.id === `${prefix}${name}`;
      tab.setAttribute('aria-selected', String(isOn));
      tab.tabIndex = isOn ? 0 : -1;
    }
    panel.setAttribute('aria-labelledby', `${prefix}${name}`);
    panel.replaceChildren(...those(...fill(name, show)));
  };
  /** @param {KeyboardEvent} event */
  const onkeydown = (event) => {
    const step = STEPS[event.key];
    if (!step) return;
    event.preventDefault();
    const at = buttons.indexOf(/** @type {HTMLButtonElement} */ (document.activeElement));
    const next = buttons[(at + step + buttons.length) % buttons.length];
    next.click();
    next.focus();
  };
  show(first);
  const strip = h('div.tabs', { role: 'tablist', 'aria-label': title, onkeydown }, buttons);
  return h('div.settings', null, strip, panel);
}
