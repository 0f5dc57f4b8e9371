// @ts-check
// Files that are dropped on a conversation.

import { t } from '../../i18n.js';
import { h } from '../dom.js';
import { icon } from '../icons.js';

/**
 * @param {HTMLElement} element
 * @param {() => boolean} mayWrite
 * @param {(files: File[]) => void} attach
 */
export function fileDrop(element, mayWrite, attach) {
  const sign = h('div.drop', { hidden: true }, icon('attach'), t('chat.drop'));
  element.append(sign);
  /**
   * @param {'dragleave' | 'dragover' | 'drop'} name
   * @param {(event: DragEvent) => void} act
   */
  const on = (name, act) =>
    element.addEventListener(name, (event) => {
      if (event.dataTransfer?.types.includes('Files') && mayWrite()) act(event);
    });
  on('dragover', (event) => {
    event.preventDefault();
    sign.hidden = false;
  });
  on('dragleave', (event) => {
    const entered = event.relatedTarget;
    if (!(entered instanceof Node && element.contains(entered))) sign.hidden = true;
  });
  on('drop', (event) => {
    event.preventDefault();
    sign.hidden = true;
    attach([...(event.dataTransfer?.files ?? [])]);
  });
  // An element that leaves the document under the file is left without a `dragleave` that arrives here. No pointer
  // moves while something is dragged: one that moves says that the drag has ended.
  element.addEventListener('pointermove', () => (sign.hidden = true));
}
