// Owns what lies above the page: dialogs, confirmations, menus, short notices
// and the announcements of a screen reader.
// Invariant: whatever opens gives the focus back where it was when it closes.

import { t } from '/client/i18n.js';
import { h, icon, iconButton } from '/client/ui/dom.js';

// A modal with a title. `body` gets `close`; returns the element.
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

// Resolves to true, or to the value of `ask`'s fields, or to false.
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
  // Above an open modal, else it would lie behind the backdrop.
  ([...document.querySelectorAll('dialog[open]')].at(-1) ?? document.body).append(toasts);
  const note = h(`div.toast.${kind}`, { testid: 'toast' }, kind === 'bad' && icon('alert'), h('span', null, text));
  toasts.append(note);
  setTimeout(() => note.remove(), kind === 'bad' ? 6_000 : 3_000);
}

export const failed = (error) => toast(error.message, { kind: 'bad' });

let voice;

// For screen readers only: what the eye sees arrive by itself.
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
  (anchor.closest('dialog') ?? document.body).append(menu);
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

const EMOJI = '👍 ❤️ 😂 😮 😢 🙏 🎉 🔥 👏 😀 😅 😉 😊 😍 😘 🤔 😐 🙄 😴 😎 🥳 😭 😡 🤯 🤝 👋 👌 ✌️ 💪 🙌 👀 💡 ✅ ❌ ⭐ 💯 🌹 🌙 ☀️ ☕ 🍰 🎂 🎁 🚀 🐱 🐶 🌍 🕊️'.split(' ');

export function pickEmoji(anchor, chosen) {
  let grid;
  const finish = openMenu(anchor, [], {
    label: t('compose.emoji'),
    head: (close) => (grid = h('div.emoji-grid', null, EMOJI.map((emoji) => h('button', {
      type: 'button', role: 'menuitem', tabindex: '-1', 'aria-label': emoji, testid: 'emoji',
      onclick: () => {
        close(true);
        chosen(emoji);
      },
    }, emoji)))),
  });
  return () => grid.isConnected && finish(false);
}

// Pictures of one message, one at a time.
export function openPictures(pictures, index) {
  const image = h('img', { testid: 'lightbox-image' });
  const save = h('a.icon-button', { target: '_blank', rel: 'noopener' }, icon('download'));
  const show = (step) => {
    index = (index + step + pictures.length) % pictures.length;
    const { url, name } = pictures[index];
    image.src = save.href = url;
    image.alt = name;
    save.download = name;
    save.setAttribute('aria-label', t('file.download', { name }));
    caption.textContent = name;
  };
  const caption = h('span.lightbox-name', { dir: 'auto' });
  const dialog = h('dialog.lightbox', {
    testid: 'lightbox', 'aria-label': t('preview.photo'),
    onclose: () => dialog.remove(),
    onclick: (event) => event.target !== image && !event.target.closest('a,button') && dialog.close(),
    onkeydown: (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step) show(document.documentElement.dir === 'rtl' ? -step : step);
    },
  }, h('header', null, caption, save, iconButton('close', t('close'), { testid: 'lightbox-close', onclick: () => dialog.close() })),
  h('div.lightbox-stage', null,
    pictures.length > 1 && iconButton('back', t('file.previous'), { onclick: () => show(-1) }),
    image,
    pictures.length > 1 && iconButton('back', t('file.next'), { class: 'icon-button next', onclick: () => show(1) })));
  show(0);
  document.body.append(dialog);
  dialog.showModal();
}
