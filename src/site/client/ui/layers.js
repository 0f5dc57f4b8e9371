// @ts-check
// The layers above the page: dialogs, menus, notices, announcements, and one picture on the whole screen.
//
// Invariants: each layer gives the focus back when it closes; none stays over a page that was left.

import { t } from '../i18n.js';
import { h, those } from './dom.js';
import { icon, iconButton } from './icons.js';

/** @typedef {import('./dom.js').Child} Child */

// An address that changes below a dialog is another page: no dialog stays over it.
addEventListener('hashchange', closeDialogs);

export function closeDialogs() {
  for (const dialog of document.querySelectorAll('dialog')) dialog.close();
}

/**
 * @param {{title: string, testid: string, wide?: boolean, small?: boolean,
 *   build: (sheet: {close: () => void, signal: AbortSignal}) => Child | Child[]}} options
 */
export function openDialog({ title, testid, wide = false, small = false, build }) {
  const before = /** @type {HTMLElement | null} */ (document.activeElement);
  const close = () => dialog.close();
  const heading = h('h2', { id: `title-${testid}` }, title);
  const ending = new AbortController();
  /** @type {HTMLDialogElement} */
  const dialog = h('dialog', {
    class: ['sheet', wide && 'wide', small && 'small'].filter(Boolean).join(' '),
    testid,
    'aria-labelledby': heading.id,
    onclose: () => {
      ending.abort();
      dialog.remove();
      if (before?.isConnected) before.focus({ preventScroll: true });
    },
    onclick: (event) => event.target === dialog && close(),
  });
  dialog.append(
    h(
      'header.sheet-head',
      null,
      heading,
      iconButton('close', t('close'), { testid: `${testid}-close`, onclick: close }),
    ),
    h('div.sheet-body', null, build({ close, signal: ending.signal })),
  );
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/**
 * @param {{title: string, more?: string, action: string, danger?: boolean}} question
 * @returns {Promise<boolean>}
 */
export function confirm({ title, more, action, danger = true }) {
  return new Promise((resolve) => {
    let answer = false;
    /** @type {HTMLDialogElement} */
    const dialog = h(
      'dialog.sheet.small',
      {
        testid: 'confirm',
        'aria-labelledby': 'confirm-title',
        onclose: () => {
          dialog.remove();
          resolve(answer);
        },
      },
      h(
        'form.sheet-body',
        {
          method: 'dialog',
          onsubmit: () => {
            answer = true;
          },
        },
        h('h2', { id: 'confirm-title' }, title),
        more && h('p.quiet', null, more),
        h(
          'div.row.end',
          null,
          h('button.button', { type: 'button', testid: 'confirm-no', onclick: () => dialog.close() }, t('cancel')),
          h(`button.button.${danger ? 'danger' : 'primary'}`, { testid: 'confirm-yes' }, action),
        ),
      ),
    );
    document.body.append(dialog);
    dialog.showModal();
  });
}

const topLayer = () => [...document.querySelectorAll('dialog[open]')].at(-1) ?? document.body;

const TOAST_MS = 3_000;
const BAD_TOAST_MS = 6_000;
/** @type {HTMLElement | undefined} */
let toasts;

/** @param {string} text */
export function toast(text, { kind = 'plain' } = {}) {
  toasts ??= h('div.toasts', { role: 'status', 'aria-live': 'polite' });
  topLayer().append(toasts);
  const note = h(`div.toast.${kind}`, { testid: 'toast' }, kind === 'bad' && icon('alert'), h('span', null, text));
  toasts.append(note);
  setTimeout(() => note.remove(), kind === 'bad' ? BAD_TOAST_MS : TOAST_MS);
}

/** @param {Error} error */
export const failed = (error) => toast(error.message, { kind: 'bad' });
// Of a part of the client that is loaded when it is first used.
export const notLoaded = () => toast(t('error.load'), { kind: 'bad' });
export const succeeded = (text = t('done')) => toast(text, { kind: 'good' });

const voice = h('div.unseen', { 'aria-live': 'polite' });

/** @param {string} text */
export function announce(text) {
  if (!voice.isConnected) document.body.append(voice);
  voice.textContent = text;
}

/**
 * Over plain http a browser has no clipboard for scripts, but it copies what is selected.
 * @param {string} text
 */
export async function copy(text) {
  if (navigator.clipboard) await navigator.clipboard.writeText(text);
  else {
    const before = /** @type {HTMLElement | null} */ (document.activeElement);
    const field = h('textarea.unseen', { value: text, readonly: '', 'aria-hidden': 'true' });
    topLayer().append(field);
    field.select();
    const copied = document.execCommand('copy');
    field.remove();
    before?.focus({ preventScroll: true });
    if (!copied) throw new Error(t('error.copy'));
  }
  succeeded(t('msg.copied'));
}

/** @typedef {{label: string, icon: string, testid: string, danger?: boolean, act: () => unknown}} MenuItem */
/** @typedef {(refocus: boolean) => void} Close */

/**
 * An element over the page, at `anchor`. A press outside of it closes it.
 * @param {HTMLElement} anchor
 * @param {(close: Close) => HTMLElement} build
 */
export function openPopover(anchor, build) {
  const before = /** @type {HTMLElement | null} */ (document.activeElement);
  const ending = new AbortController();
  const { signal } = ending;
  /** @type {Close} */
  const close = (refocus) => {
    ending.abort();
    element.remove();
    if (refocus && before?.isConnected) before.focus({ preventScroll: true });
  };
  const element = build(close);
  anchor.closest('dialog,main')?.append(element);
  place(element, anchor);
  /** @param {Event} event */
  const outside = (event) => {
    if (event.target instanceof Node && element.contains(event.target)) return;
    close(false);
    swallowClick();
  };
  addEventListener('pointerdown', outside, { capture: true, signal });
  addEventListener('resize', () => close(false), { signal });
  addEventListener('hashchange', () => close(false), { signal });
  return close;
}

/**
 * A menu at `anchor`.
 * @param {HTMLElement} anchor
 * @param {Array<MenuItem | false | null | ''>} items
 * @param {{label: string, head?: (close: Close) => Child}} options
 */
export function openMenu(anchor, items, { label, head }) {
  return openPopover(anchor, (close) => {
    /** @type {HTMLElement} */
    const menu = h('div.menu', {
      role: 'menu',
      'aria-label': label,
      testid: 'menu',
      onkeydown: menuKeys(() => menu, close),
    });
    menu.append(...those(head?.(close), ...items.map((item) => item && menuItem(item, close))));
    queueMicrotask(() => menu.querySelector('button')?.focus({ preventScroll: true }));
    return menu;
  });
}

// A press outside of a menu closes it and does nothing else: its click may come to another message.
function swallowClick() {
  const ending = new AbortController();
  const { signal } = ending;
  /** @param {Event} event */
  const swallow = (event) => {
    event.preventDefault();
    event.stopPropagation();
    ending.abort();
  };
  addEventListener('click', swallow, { capture: true, signal });
  addEventListener('pointerdown', () => ending.abort(), { capture: true, signal });
}

/**
 * @param {MenuItem} item
 * @param {Close} close
 */
function menuItem(item, close) {
  return h(
    `button.menu-item${item.danger ? '.danger' : ''}`,
    {
      type: 'button',
      role: 'menuitem',
      tabindex: '-1',
      testid: item.testid,
      onclick: () => {
        close(true);
        item.act();
      },
    },
    icon(item.icon),
    h('span', null, item.label),
  );
}

/** @type {Record<string, number>} */
const STEPS = { ArrowDown: 1, ArrowUp: -1, ArrowRight: 1, ArrowLeft: -1 };

/**
 * @param {() => HTMLElement} menu
 * @param {Close} close
 * @returns {(event: KeyboardEvent) => void}
 */
function menuKeys(menu, close) {
  return (event) => {
    const all = [...menu().querySelectorAll('button')];
    const step = STEPS[event.key];
    if (step)
      all[
        (all.indexOf(/** @type {HTMLButtonElement} */ (document.activeElement)) + step + all.length) % all.length
      ].focus();
    else if (event.key === 'Escape' || event.key === 'Tab') close(true);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
}

const EDGE_PX = 8;

/**
 * @param {HTMLElement} menu
 * @param {HTMLElement} anchor
 */
function place(menu, anchor) {
  const at = anchor.getBoundingClientRect();
  const size = menu.getBoundingClientRect();
  const left = document.documentElement.dir === 'rtl' ? at.left : at.right - size.width;
  const below = at.bottom + size.height + EDGE_PX < innerHeight;
  const top = below ? at.bottom + 4 : at.top - size.height - 4;
  menu.style.left = `${Math.max(EDGE_PX, Math.min(left, innerWidth - size.width - EDGE_PX))}px`;
  menu.style.top = `${Math.max(EDGE_PX, top)}px`;
}

/**
 * The picture is an entry of the history: Back closes it and leaves the conversation where it is.
 * @param {{url: string, name: string, type?: string, alt?: string | null, preview?: string | null,
 *   address?: string}} file a picture or a film, and the address of its message
 */
export function openPicture({ url, name, type, alt, preview, address }) {
  const ending = new AbortController();
  const image = type?.startsWith('video/')
    ? h('video', { src: url, poster: preview, controls: true, autoplay: true, 'aria-label': alt ?? name })
    : h('img', { src: url, alt: alt ?? name, testid: 'lightbox-image' });
  const jump = () => {
    // The layer's own entry of the history is left first.
    addEventListener('popstate', () => location.assign(address ?? ''), { once: true });
    dialog.close();
  };
  /** @type {HTMLDialogElement} */
  const dialog = h(
    'dialog.lightbox',
    {
      testid: 'lightbox',
      'aria-label': t('preview.photo'),
      onclose: () => {
        const isBack = ending.signal.aborted;
        ending.abort();
        dialog.remove();
        if (!isBack) history.back();
      },
      onclick: ({ target }) =>
        target !== image && !(target instanceof Element && target.closest('a')) && dialog.close(),
    },
    h(
      'header',
      null,
      h('span.lightbox-name.line', { dir: 'auto' }, name),
      h(
        'a.icon-button',
        { href: url, download: name, target: '_blank', rel: 'noopener', 'aria-label': t('file.download', { name }) },
        icon('download'),
      ),
      address && iconButton('reply', t('gallery.jump'), { testid: 'lightbox-jump', onclick: jump }),
      iconButton('close', t('close'), { testid: 'lightbox-close' }),
    ),
    h('div.lightbox-stage', null, image),
    alt && h('p.lightbox-alt', { dir: 'auto' }, alt),
  );
  document.body.append(dialog);
  dialog.showModal();
  history.pushState({ layer: 'picture' }, '');
  const back = () => {
    ending.abort();
    dialog.close();
  };
  addEventListener('popstate', back, { signal: ending.signal });
}
