// How elements are made and kept in step with a list, and the layers above the page: dialogs, menus, notices,
// announcements.
//
// Invariants: text enters the page as text nodes only, and nothing here parses markup; each layer gives the focus back
// when it closes.

import { t } from '../i18n.js';
import { firstSign } from '../util.js';

export function h(tag, props, ...children) {
  const [name, ...classes] = tag.split('.');
  const element = document.createElement(name || 'div');
  if (classes.length) element.className = classes.join(' ');
  for (const [key, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined) continue;
    if (typeof value === 'function') element.addEventListener(key.slice(2), value);
    else if (key === 'testid') element.dataset.testid = value;
    else if (key === 'data') Object.assign(element.dataset, value);
    else if (key === 'value' || typeof value === 'boolean') element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// Makes `container` hold exactly `items`, in order. Reuses the element of each key, so that focus, selection and scroll
// position survive. An item is redrawn only if its `sign` changed.
export function reconcile(container, items, { key, sign, create, draw }) {
  const held = new Map();
  for (const element of container.children) held.set(element.__key, element);
  let place = container.firstElementChild;
  for (const item of items) {
    const id = key(item);
    let element = held.get(id);
    if (element) held.delete(id);
    else {
      element = create(item);
      element.__key = id;
    }
    const signature = sign(item);
    if (element.__sign !== signature) {
      element.__sign = signature;
      draw(element, item);
    }
    if (element === place) place = place.nextElementSibling;
    else container.insertBefore(element, place);
  }
  for (const element of held.values()) element.remove();
}

const PATHS = {
  back: 'M15 5l-7 7 7 7',
  search: 'M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM16.2 16.2 21 21',
  plus: 'M12 5v14M5 12h14',
  close: 'M6 6l12 12M18 6 6 18',
  send: 'M4 12 20 4l-5 16-3.5-6.5zM11.5 13.5 20 4',
  attach: 'M20 11.5l-8.2 8.2a5 5 0 0 1-7.1-7.1l8.5-8.5a3.4 3.4 0 0 1 4.8 4.8l-8.4 8.4a1.7 1.7 0 0 1-2.4-2.4l7.7-7.7',
  smile: 'M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM8.5 14.5c1.8 2.4 5.2 2.4 7 0M9 9.5v.2M15 9.5v.2',
  reply: 'M10 7 4.5 12.5 10 18M5 12.5h8.5a6 6 0 0 1 6 6',
  more: 'M5 12h.01M12 12h.01M19 12h.01',
  edit: 'M4 20l1-4.5L16.5 4 20 7.5 8.5 19zM14 6.5 17.5 10',
  trash: 'M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v5M14 11v5',
  copy: 'M9 9h11v11H9zM15 9V4H4v11h5',
  clock: 'M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM12 8v4l3 2',
  check: 'M5 12.5 10 17.5 19.5 7',
  checks: 'M2.5 12.5 7 17 15.5 7.5M11 15.5l1.5 1.5L21 7.5',
  alert: 'M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM12 8v5M12 16v.2',
  down: 'M5 9l7 7 7-7',
  settings: 'M4 7h9M17 7h3M15 5v4M4 17h3M11 17h9M9 15v4',
  file: 'M7 3h7l5 5v13H7a2 2 0 0 1-2-2V5a2 2 0 0 1 2-2zM14 3v5h5',
  download: 'M12 4v11M7 11l5 5 5-5M5 20h14',
  group: 'M9 5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7zM2.5 20c0-3.6 2.9-5.5 6.5-5.5s6.5 1.9 6.5 5.5M16 5.4a3.3 3.3 0 0 1 0 6.2M18 14.8c2.3.8 3.5 2.6 3.5 5.2',
  person: 'M12 4a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM4.5 20.5c0-4 3.3-6 7.5-6s7.5 2 7.5 6',
  mute: 'M6 10a6 6 0 0 1 9.5-4.9M18 11v1c0 3 1.5 5 1.5 5H8M6 10c0 4-1.5 7-1.5 7M10 20.5h4M4 3l16 18',
  bell: 'M6 10a6 6 0 0 1 12 0c0 5 1.5 7 1.5 7h-15S6 15 6 10M10 20.5h4',
  eye: 'M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12zM12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6z',
  info: 'M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM12 11v5M12 8v.2',
  device: 'M4 5h16v11H4zM9 20h6M12 16v4',
  lock: 'M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 0 1 7 0v3',
  sun: 'M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M5.3 18.7l1.4-1.4M17.3 6.7l1.4-1.4',
  exit: 'M10 4H5v16h5M14 8l4 4-4 4M18 12H9',
  camera: 'M4 8h3.5L9 5.5h6L16.5 8H20v11H4zM12 10.2a3.2 3.2 0 1 0 0 6.4 3.2 3.2 0 0 0 0-6.4z',
  block: 'M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM6.5 6.5l11 11',
};
const TURNING = new Set(['back', 'send', 'reply', 'exit']);

const SVG = 'http://www.w3.org/2000/svg';

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

export function iconButton(name, label, props) {
  return h('button.icon-button', { type: 'button', 'aria-label': label, title: label, ...props }, icon(name));
}

export function avatar({ id, name, image, size = '', online }) {
  const words = (name || '?').trim().split(/\s+/);
  const initials = words.length > 1 ? `${firstSign(words[0])}\u200c${firstSign(words.at(-1))}` : firstSign(words[0]);
  let hue = 0;
  for (const letter of id ?? name ?? '') hue = (hue * 31 + letter.codePointAt(0)) % 360;
  const face = h(`span.avatar${size ? `.${size}` : ''}`, { 'aria-hidden': 'true', data: { initials: initials.toLocaleUpperCase() } });
  face.style.setProperty('--hue', hue);
  if (image) {
    const img = h('img', { alt: '', src: image, decoding: 'async', loading: 'lazy', draggable: false, onerror: () => img.remove() });
    face.append(img);
  }
  if (online) face.append(h('span.presence'));
  return face;
}

export const link = (testid, label, onclick) => h('button.link', { type: 'button', testid, onclick }, label);
export const button = (testid, label, onclick) => h('button.button', { type: 'button', testid, onclick }, label);

export const spinner = (label) => h('div.spinner', { role: 'status', 'aria-label': label });

export function rich(text) {
  const parts = [];
  let from = 0;
  for (const found of text.matchAll(/\bhttps?:\/\/[^\s<>"'`\u0000-\u001f\u202a-\u202e\u2066-\u2069]+/gi)) {
    // The end of a sentence is not part of the address; a closing bracket only if the address has the opening one.
    let address = found[0].replace(/[.,;:!?…،؛؟]+$/u, '');
    while (address.endsWith(')') && address.split(')').length > address.split('(').length) address = address.slice(0, -1);
    let url;
    try { url = new URL(address); } catch { continue; }
    // Text before an @ may look like the name of another host.
    if (!/^https?:$/.test(url.protocol) || url.username || url.password) continue;
    parts.push(text.slice(from, found.index), h('a', { href: url.href, title: url.href, target: '_blank', rel: 'noopener noreferrer nofollow' }, address));
    from = found.index + address.length;
  }
  parts.push(text.slice(from));
  return parts.filter((part) => part !== '');
}

export const isEmojiOnly = (text) => /^(?:\p{Extended_Pictographic}(?:\uFE0F|\p{Emoji_Modifier}|\u200D\p{Extended_Pictographic})*\s*){1,3}$/u.test(text.trim());

export function openDialog({ title, testid, wide, build }) {
  const before = document.activeElement;
  const close = () => dialog.close();
  const heading = h('h2', { id: `title-${testid}` }, title);
  const dialog = h(`dialog.sheet${wide ? '.wide' : ''}`, {
    testid, 'aria-labelledby': heading.id,
    onclose: () => {
      ending.abort();
      dialog.remove();
      if (before?.isConnected) before.focus({ preventScroll: true });
    },
    onclick: (event) => event.target === dialog && close(),
  });
  const ending = new AbortController();
  dialog.append(
    h('header.sheet-head', null, heading, iconButton('close', t('close'), { testid: `${testid}-close`, onclick: close })),
    h('div.sheet-body', null, build({ close, signal: ending.signal, dialog })),
  );
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

// Resolves to true, to the value of the fields of `ask`, or to false.
export function confirm({ title, more, action, danger = true, fields = [] }) {
  return new Promise((resolve) => {
    let answer = false;
    const dialog = h('dialog.sheet.small', {
      testid: 'confirm', 'aria-labelledby': 'confirm-title',
      onclose: () => {
        dialog.remove();
        resolve(answer);
      },
    }, h('form.sheet-body', {
      method: 'dialog',
      onsubmit: () => { answer = fields.length ? fields : true; },
    },
    h('h2', { id: 'confirm-title' }, title), more && h('p.quiet', null, more), fields,
    h('div.row.end', null,
      h('button.button', { type: 'button', testid: 'confirm-no', onclick: () => dialog.close() }, t('cancel')),
      h(`button.button.${danger ? 'danger' : 'primary'}`, { testid: 'confirm-yes' }, action))));
    document.body.append(dialog);
    dialog.showModal();
  });
}

let toasts;

export function toast(text, { kind = 'plain' } = {}) {
  toasts ??= h('div.toasts', { role: 'status', 'aria-live': 'polite' });
  ([...document.querySelectorAll('dialog[open]')].at(-1) ?? document.body).append(toasts);
  const note = h(`div.toast.${kind}`, { testid: 'toast' }, kind === 'bad' && icon('alert'), h('span', null, text));
  toasts.append(note);
  setTimeout(() => note.remove(), kind === 'bad' ? 6_000 : 3_000);
}

export const failed = (error) => toast(error.message, { kind: 'bad' });

let voice;

export function announce(text) {
  if (!voice) document.body.append((voice = h('div.unseen', { 'aria-live': 'polite' })));
  voice.textContent = text;
}

// A menu at `anchor`. Items: `{label, icon, testid, danger, act}`.
export function openMenu(anchor, items, { label, head } = {}) {
  const before = document.activeElement;
  const close = (refocus) => {
    ending.abort();
    menu.remove();
    if (refocus && before?.isConnected) before.focus({ preventScroll: true });
  };
  const buttons = items.filter(Boolean).map((item) => h(`button.menu-item${item.danger ? '.danger' : ''}`, {
    type: 'button', role: 'menuitem', tabindex: '-1', testid: item.testid,
    onclick: () => {
      close(true);
      item.act();
    },
  }, icon(item.icon), h('span', null, item.label)));
  const menu = h('div.menu', {
    role: 'menu', 'aria-label': label, testid: 'menu',
    onkeydown: (event) => {
      const all = [...menu.querySelectorAll('button')];
      const at = all.indexOf(document.activeElement);
      const step = { ArrowDown: 1, ArrowUp: -1, ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step) all[(at + step + all.length) % all.length].focus();
      else if (event.key === 'Escape' || event.key === 'Tab') close(true);
      else return;
      event.preventDefault();
      event.stopPropagation();
    },
  }, head?.(close), buttons);
  const ending = new AbortController();
  anchor.closest('dialog,main').append(menu);
  place(menu, anchor);
  addEventListener('pointerdown', (event) => !menu.contains(event.target) && close(false), { capture: true, signal: ending.signal });
  addEventListener('resize', () => close(false), { signal: ending.signal });
  menu.querySelector('button')?.focus({ preventScroll: true });
  return close;
}

function place(menu, anchor) {
  const at = anchor.getBoundingClientRect(), size = menu.getBoundingClientRect();
  const rtl = document.documentElement.dir === 'rtl';
  const left = rtl ? at.left : at.right - size.width;
  const below = at.bottom + size.height + 8 < innerHeight;
  menu.style.left = `${Math.max(8, Math.min(left, innerWidth - size.width - 8))}px`;
  menu.style.top = `${Math.max(8, below ? at.bottom + 4 : at.top - size.height - 4)}px`;
}

const EMOJI = '👍 ❤️ 😂 😮 😢 🙏 🎉 🔥 👏 😀 😅 😉 😊 😍 🤔 😎 😭 😡 👋 💪 👀 ✅ ❌ 💯'.split(' ');

export function pickEmoji(anchor, chosen) {
  let grid;
  const finish = openMenu(anchor, [], {
    label: t('msg.react'),
    head: (close) => (grid = h('div.emoji-grid', null, EMOJI.map((emoji) => h('button', {
      type: 'button', role: 'menuitem', tabindex: '-1', testid: 'emoji',
      onclick: () => {
        close(true);
        chosen(emoji);
      },
    }, emoji)))),
  });
  return () => grid.isConnected && finish(false);
}

export function openPicture({ url, name }) {
  const image = h('img', { src: url, alt: name, testid: 'lightbox-image' });
  const dialog = h('dialog.lightbox', {
    testid: 'lightbox', 'aria-label': t('preview.photo'),
    onclose: () => dialog.remove(),
    onclick: (event) => event.target !== image && !event.target.closest('a') && dialog.close(),
  }, h('header', null, h('span.lightbox-name.line', { dir: 'auto' }, name),
    h('a.icon-button', { href: url, download: name, target: '_blank', rel: 'noopener', 'aria-label': t('file.download', { name }) }, icon('download')),
    iconButton('close', t('close'), { testid: 'lightbox-close' })), h('div.lightbox-stage', null, image));
  document.body.append(dialog);
  dialog.showModal();
}

// Scripts handle all forms. With method=post even a broken script puts no password into an address.

let fields = 0;

export function field({ name, label, hint, testid, ...input }) {
  // A dialog may have a field of the same name as the page below it.
  const id = `field-${++fields}`;
  const control = h('input', { id, name, testid, 'aria-describedby': `${id}-note`, ...input });
  const box = h('div.field-box', null, control);
  if (input.type === 'password') {
    const eye = iconButton('eye', t('auth.show'), {
      onclick: () => {
        const shown = control.type === 'text';
        control.type = shown ? 'password' : 'text';
        eye.setAttribute('aria-label', t(shown ? 'auth.show' : 'auth.hide'));
        eye.classList.toggle('on', !shown);
      },
    });
    box.append(eye);
  }
  return h('div.field', { data: { field: name } },
    h('label', { for: id }, label), box,
    h('p.field-note', { id: `${id}-note`, data: { hint: hint ?? '' } }, hint ?? ''));
}

function fieldError(form, error) {
  for (const note of form.querySelectorAll('.field-note')) {
    note.textContent = note.dataset.hint;
    note.classList.remove('bad');
    note.closest('.field').querySelector('input')?.removeAttribute('aria-invalid');
  }
  const whole = form.querySelector('.form-error');
  whole.textContent = '';
  if (!error) return;
  const place = error.field && form.querySelector(`[data-field="${CSS.escape(error.field)}"]`);
  if (!place) {
    whole.textContent = error.message;
    return;
  }
  const note = place.querySelector('.field-note'), input = place.querySelector('input');
  note.textContent = error.message;
  note.classList.add('bad');
  input.setAttribute('aria-invalid', 'true');
  input.focus();
}

export function form({ testid, submit, action, children, ...props }) {
  const button = h('button.button.primary', { testid: `${testid}-submit` }, action);
  const element = h('form.form', {
    method: 'post', noValidate: true, testid, ...props,
    onsubmit: async (event) => {
      event.preventDefault();
      if (button.disabled) return;
      fieldError(element, null);
      button.disabled = true;
      try {
        await submit(Object.fromEntries(new FormData(element)), element);
      } catch (error) {
        fieldError(element, error);
      } finally {
        button.disabled = false;
      }
    },
  }, children, h('p.form-error', { role: 'alert', testid: `${testid}-error` }), button);
  return element;
}
