// @ts-check
// The pictures of the client itself.

import { h } from './dom.js';

/** @type {Record<string, string>} */
const PATHS = {
  back: 'M15 5l-7 7 7 7',
  search: 'M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM16.2 16.2 21 21',
  plus: 'M12 5v14M5 12h14',
  close: 'M6 6l12 12M18 6 6 18',
  send: 'M4 12 20 4l-5 16-3.5-6.5zM11.5 13.5 20 4',
  attach: 'M20 11.5l-8.2 8.2a5 5 0 0 1-7.1-7.1l8.5-8.5a3.4 3.4 0 0 1 4.8 4.8l-8.4 8.4a1.7 1.7 0 0 1-2.4-2.4l7.7-7.7',
  smile: 'M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM8.5 14.5c1.8 2.4 5.2 2.4 7 0M9 9.5v.2M15 9.5v.2',
  reply: 'M10 7 4.5 12.5 10 18M5 12.5h8.5a6 6 0 0 1 6 6',
  forward: 'M14 7l5.5 5.5L14 18M19 12.5h-8.5a6 6 0 0 0-6 6',
  pin: 'M9 4h6l-.7 5.5 3.2 4h-11l3.2-4zM12 13.5V20',
  more: 'M5 12h.01M12 12h.01M19 12h.01',
  edit: 'M4 20l1-4.5L16.5 4 20 7.5 8.5 19zM14 6.5 17.5 10',
  trash: 'M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v5M14 11v5',
  copy: 'M9 9h11v11H9zM15 9V4H4v11h5',
  link: 'M10 14a4 4 0 0 0 6 .5l3-3a4 4 0 0 0-5.7-5.7l-1.2 1.2M14 10a4 4 0 0 0-6-.5l-3 3a4 4 0 0 0 5.7 5.7l1.2-1.2',
  clock: 'M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM12 8v4l3 2',
  check: 'M5 12.5 10 17.5 19.5 7',
  checks: 'M2.5 12.5 7 17 15.5 7.5M11 15.5l1.5 1.5L21 7.5',
  alert: 'M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM12 8v5M12 16v.2',
  down: 'M5 9l7 7 7-7',
  settings: 'M4 7h9M17 7h3M15 5v4M4 17h3M11 17h9M9 15v4',
  file: 'M7 3h7l5 5v13H7a2 2 0 0 1-2-2V5a2 2 0 0 1 2-2zM14 3v5h5',
  download: 'M12 4v11M7 11l5 5 5-5M5 20h14',
  group:
    'M9 5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7zM2.5 20c0-3.6 2.9-5.5 6.5-5.5s6.5 1.9 6.5 5.5M16 5.4' +
    'a3.3 3.3 0 0 1 0 6.2M18 14.8c2.3.8 3.5 2.6 3.5 5.2',
  person: 'M12 4a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM4.5 20.5c0-4 3.3-6 7.5-6s7.5 2 7.5 6',
  mute: 'M6 10a6 6 0 0 1 9.5-4.9M18 11v1c0 3 1.5 5 1.5 5H8M6 10c0 4-1.5 7-1.5 7M10 20.5h4M4 3l16 18',
  bell: 'M6 10a6 6 0 0 1 12 0c0 5 1.5 7 1.5 7h-15S6 15 6 10M10 20.5h4',
  eye: 'M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12zM12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6z',
  info: 'M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM12 11v5M12 8v.2',
  device: 'M4 5h16v11H4zM9 20h6M12 16v4',
  lock: 'M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 0 1 7 0v3',
  sun:
    'M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4' +
    'M17.3 17.3l1.4 1.4M5.3 18.7l1.4-1.4M17.3 6.7l1.4-1.4',
  exit: 'M10 4H5v16h5M14 8l4 4-4 4M18 12H9',
  camera: 'M4 8h3.5L9 5.5h6L16.5 8H20v11H4zM12 10.2a3.2 3.2 0 1 0 0 6.4 3.2 3.2 0 0 0 0-6.4z',
  picture: 'M4 5h16v14H4zM4 16l5-5 4.5 4.5L16 13l4 4M15.5 9v.2',
  play: 'M8 5.5v13l10.5-6.5z',
  pause: 'M8.5 6v12M15.5 6v12',
  mic: 'M12 3.5a3 3 0 0 0-3 3v5a3 3 0 0 0 6 0v-5a3 3 0 0 0-3-3zM6 11.5a6 6 0 0 0 12 0M12 17.5v3',
  archive: 'M4 5h16v4H4zM5.5 9v10h13V9M10 13h4',
  clear: 'M9 19.5h11M4.5 14.5 13 6l6 6-7.5 7.5H8zM9.5 9.5l6 6',
  dot: 'M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8z',
  shield: 'M12 3.5 19 6v5.5c0 4.5-3 7.5-7 9-4-1.5-7-4.5-7-9V6z',
  flag: 'M6 21V4.5h11.5L15 9l2.5 4.5H6',
  block: 'M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM6.5 6.5l11 11',
};
const TURNING = new Set(['back', 'send', 'reply', 'forward', 'exit']);

const SVG = 'http://www.w3.org/2000/svg';

/** @param {string} name */
export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('class', `icon icon-${name}${TURNING.has(name) ? ' turns' : ''}`);
  svg.setAttribute('aria-hidden', 'true');
  const path = document.createElementNS(SVG, 'path');
  path.setAttribute('d', PATHS[name]);
  svg.append(path);
  return svg;
}

export function mark() {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 32 32');
  svg.setAttribute('class', 'mark');
  svg.setAttribute('aria-hidden', 'true');
  for (const [d, name] of [
    ['M12 4h9a8 8 0 0 1 8 8v0a8 8 0 0 1-3 6.2V23l-5-3h-9a8 8 0 0 1 0-16z', 'mark-back'],
    ['M11 12h6a7 7 0 0 1 0 14h-6l-5 3v-4.6A7 7 0 0 1 11 12z', 'mark-front'],
  ]) {
    const path = document.createElementNS(SVG, 'path');
    path.setAttribute('d', d);
    path.setAttribute('class', name);
    svg.append(path);
  }
  return svg;
}

/**
 * @param {string} name
 * @param {string} label
 * @param {Parameters<typeof h>[1]} [props]
 */
export function iconButton(name, label, props) {
  return h('button.icon-button', { type: 'button', 'aria-label': label, title: label, ...props }, icon(name));
}
