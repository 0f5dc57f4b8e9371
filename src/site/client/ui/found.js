// @ts-check
// The words of a search, highlighted in the message that it led to.
//
// Invariant: the highlight is drawn by the browser over the texts; no element changes for it.

import { hitsOf } from '../fold.js';

const NAME = 'found';

let query = '';

/**
 * What the next jump to a message highlights there; nothing ends the highlight.
 * @param {string} words
 */
export function seek(words) {
  query = words;
  globalThis.CSS?.highlights?.delete(NAME);
}

/** @param {Element} message */
export function highlight(message) {
  const body = message.querySelector('.body');
  // Firefox before 140 has no highlights: the message is lit all the same.
  if (!query || !body || !globalThis.CSS?.highlights) return;
  const texts = document.createTreeWalker(body, NodeFilter.SHOW_TEXT);
  const ranges = [];
  for (let node = texts.nextNode(); node; node = texts.nextNode()) {
    for (const [from, to] of hitsOf(node.nodeValue ?? '', query)) {
      const range = new Range();
      range.setStart(node, from);
      range.setEnd(node, to);
      ranges.push(range);
    }
  }
  CSS.highlights.set(NAME, new Highlight(...ranges));
  query = '';
}
