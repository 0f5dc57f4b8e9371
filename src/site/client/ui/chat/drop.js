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
  // Each element that is entered is left again, those inside of it too.
  let depth = 0;
  /** @param {number} change */
  const show = (change) => {
    depth = Math.max(0, depth + change);
    sign.hidden = depth === 0;
  };
  /**
   * @param {'dragenter' | 'dragleave' | 'dragover' | 'drop'} name
   * @param {(event: DragEvent) => void} act
   */
  const on = (name, act) =>
    element.addEventListener(name, (event) => {
      if (event.dataTransfer?.types.includes('Files') && mayWrite()) act(event);
    });
  on('dragenter', () => show(1));
  on('dragleave', () => show(-1));
  on('dragover', (event) => event.preventDefault());
  on('drop', (event) => {
    event.preventDefault();
    show(-depth);
    attach([...(event.dataTransfer?.files ?? [])]);
  });
}
