// @ts-check
// The composer: where the next message of a conversation is written, and a sent one is changed.
//
// Owns the text field, the files that were chosen and what is replied to. Invariant: a text leaves the composer only
// after the outbox (or, for a change, the server) has it; what is not sent is in the drafts of this device.

import { bytes, t } from '../i18n.js';
import { SIGNAL } from '../names.js';
import { link } from '../net/link.js';
import { drafts, outbox } from '../state/here.js';
import { model } from '../state/model.js';
import { debounce, scalars } from '../util.js';
import { openDescription } from './description.js';
import { h } from './dom.js';
import { pickEmoji } from './emoji.js';
import { icon, iconButton } from './icons.js';
import { failed, notLoaded, toast } from './layers.js';
import { localUrl } from './files.js';
import { nameOffers } from './names.js';
import { voiceBar } from './voice.js';
import { nameOrYou, preview } from './words.js';

// What holds until the server has told its own limits.
const FILES_MAX = 10;
const BODY_MAX = 4_000;
const UPLOAD_BYTES_MAX = 104_857_600;

// Over plain http a page has no microphone.
const MAY_RECORD = Boolean(navigator.mediaDevices && globalThis.MediaRecorder);

const TYPING_EVERY_MS = 3_000;
const SAVE_MS = 250;
const COUNTED_BELOW = 200;
// Part of the page's height that the field may take.
const HEIGHT_MAX = 0.35;

// The marks that a key with Ctrl puts around what is selected.
/** @type {Record<string, string>} */
const MARKS = { b: '**', i: '*', e: '\x60' };

/** @typedef {import('../../types.d.ts').Message} Message */
/** @typedef {import('../state/outbox.js').Chosen} Chosen */
/** @typedef {ReturnType<typeof composer>} Writer */

/**
 * @param {{target: () => {lane: string, to?: string, conversation?: string}, onSent: () => void,
 *   lastOwn: () => Message | null | undefined, signal: AbortSignal}} options
 */
export function composer({ target, onSent, lastOwn, signal }) {
  const { lane } = target();
  const draft = drafts.of(lane);
  const typing = typist(() => target().conversation);
  let editing = /** @type {Message | null} */ (null);

  const input = h('textarea', {
    rows: 1,
    dir: 'auto',
    placeholder: t('compose.label'),
    'aria-label': t('compose.label'),
    testid: 'composer-input',
    enterkeyhint: 'send',
  });
  const chooser = h('input', {
    type: 'file',
    multiple: true,
    hidden: true,
    tabindex: '-1',
    testid: 'composer-file',
    'aria-label': t('compose.attach'),
  });
  const send = iconButton('send', t('compose.send'), {
    type: 'submit',
    testid: 'composer-send',
    class: 'icon-button send',
  });
  const mic = iconButton('mic', t('voice.record'), { testid: 'composer-voice', onclick: recordVoice });
  const counter = h('span.counter', { 'aria-live': 'polite' });
  const names = nameOffers({ input, conversation: () => target().conversation, changed: () => changed() });
  const context = h('div.compose-context', { hidden: true, testid: 'composer-context' });
  const tray = h('ul.tray', { 'aria-label': t('compose.files'), hidden: true, testid: 'composer-files' });
  /** @type {HTMLElement} */
  const emoji = iconButton('smile', t('msg.react'), {
    testid: 'composer-emoji',
    onclick: () => pickEmoji(emoji, insert),
  });
  const attachButton = iconButton('attach', t('compose.attach'), {
    testid: 'composer-attach',
    onclick: () => chooser.click(),
  });
  const field = h('div.compose-field', null, input, counter, emoji);
  const row = h('div.compose-row', null, attachButton, chooser, field, mic, send);
  const element = h(
    'form.composer',
    {
      method: 'post',
      testid: 'composer',
      onsubmit: (event) => {
        event.preventDefault();
        submit();
      },
    },
    names.element,
    context,
    tray,
    row,
  );

  function fit() {
    input.style.height = 'auto';
    const most = innerHeight * HEIGHT_MAX;
    input.style.height = `${Math.min(input.scrollHeight, most)}px`;
    input.style.overflowY = input.scrollHeight > most ? '' : 'hidden';
    const left = (link.limits.message_max ?? BODY_MAX) - scalars(input.value);
    counter.textContent = left < COUNTED_BELOW ? String(left) : '';
    counter.classList.toggle('bad', left < 0);
    const isEmpty = !(input.value.trim() || (draft.files.length && !editing));
    send.disabled = left < 0 || isEmpty;
    mic.hidden = !MAY_RECORD || !isEmpty || Boolean(editing);
    send.hidden = !mic.hidden;
  }

  async function recordVoice() {
    mic.disabled = true;
    try {
      const closed = () => {
        bar.remove();
        row.hidden = false;
        input.focus({ preventScroll: true });
      };
      const bar = await voiceBar({ signal, send: sendVoice, closed });
      row.hidden = true;
      element.append(bar);
    } catch (error) {
      if (error.name === 'NotAllowedError') toast(t('voice.refused'), { kind: 'bad' });
      else if (error.name === 'NotFoundError') toast(t('voice.none'), { kind: 'bad' });
      else if (!signal.aborted) notLoaded();
    }
    mic.disabled = false;
  }

  /**
   * @param {File} file
   * @param {number} duration_ms
   */
  async function sendVoice(file, duration_ms) {
    const { reply } = draft;
    try {
      await outbox.add({ ...target(), body: '', files: [{ file, duration_ms }], reply_to: reply?.id });
      draft.reply = null;
      save();
      restore();
      if (!signal.aborted) onSent();
    } catch (error) {
      failed(error);
    }
  }

  /** @param {string} text */
  function insert(text) {
    input.setRangeText(text, input.selectionStart, input.selectionEnd, 'end');
    input.focus();
    changed();
  }

  /** @param {string} sign */
  function mark(sign) {
    const { selectionStart: from, selectionEnd: to, value } = input;
    const text = sign + value.slice(from, to) + sign;
    // The command can be undone by the member; not every browser has it for a field.
    if (!document.execCommand('insertText', false, text)) input.setRangeText(text, from, to, 'end');
    input.setSelectionRange(from + sign.length, to + sign.length);
    changed();
  }

  const save = () => drafts.save(lane);
  const saveSoon = debounce(save, SAVE_MS);
  const saveFiles = async () => {
    try {
      if (!(await drafts.saveFiles(lane))) toast(t('compose.not_kept'));
    } catch {
      toast(t('compose.not_kept')); // the disk is full: they can still be sent
    }
  };

  function changed() {
    if (!editing) {
      draft.text = input.value;
      saveSoon();
      typing(Boolean(input.value.trim()));
    }
    fit();
  }

  function drawContext() {
    const about = editing ?? draft.reply;
    context.hidden = !about;
    send.setAttribute('aria-label', t(editing ? 'compose.save' : 'compose.send'));
    if (!about) return;
    const title = editing ? t('compose.edit') : t('compose.reply', { name: nameOrYou(about.sender) });
    context.replaceChildren(
      icon(editing ? 'edit' : 'reply'),
      h('div.context-text', null, h('strong.line', null, title), h('span.line', { dir: 'auto' }, preview(about))),
      iconButton('close', t('cancel'), { testid: 'composer-cancel', onclick: cancel }),
    );
  }

  function drawTray() {
    tray.hidden = !draft.files.length || Boolean(editing);
    tray.replaceChildren(...draft.files.map((chosen) => trayItem(chosen, describe, discard)));
    fit();
  }

  /** @param {Chosen} chosen */
  function describe(chosen) {
    openDescription(chosen, () => {
      saveFiles();
      drawTray();
    });
  }

  /** @param {Chosen} chosen */
  function discard(chosen) {
    draft.files.splice(draft.files.indexOf(chosen), 1);
    saveFiles();
    drawTray();
  }

  /** @param {File[]} files */
  function attach(files) {
    for (const file of files) {
      const refusal = refusalOf(file, draft.files.length);
      if (refusal) toast(refusal, { kind: 'bad' });
      else draft.files.push({ file });
    }
    saveFiles();
    drawTray();
    input.focus();
  }

  async function submit() {
    const body = input.value;
    if (send.disabled) return;
    if (editing) return saveEdit(editing, body);
    const { files, reply } = draft;
    const text = body.trim() ? body : '';
    // Emptied first, so that a second Enter sends nothing; restored on failure.
    fill({ text: '', files: [], reply: null });
    typing(false);
    try {
      await outbox.add({ ...target(), body: text, files, reply_to: reply?.id });
      // Kept on disk until the outbox has them on disk.
      save();
      if (files.length) saveFiles();
      if (!signal.aborted) onSent();
    } catch (error) {
      fill({ text: body, files, reply });
      failed(error);
    }
    input.focus();
  }

  /** @param {import('../state/drafts.js').Draft} content */
  function fill(content) {
    Object.assign(draft, content);
    input.value = draft.text;
    restore();
  }

  /**
   * @param {Message} message
   * @param {string} body
   */
  async function saveEdit(message, body) {
    if (body === message.body) return cancel();
    send.disabled = true;
    try {
      await model.edit(message, body);
      cancel();
    } catch (error) {
      failed(error);
      fit();
    }
  }

  function restore() {
    drawContext();
    drawTray();
  }

  function cancel() {
    if (editing) {
      editing = null;
      input.value = draft.text;
    } else {
      draft.reply = null;
      save();
    }
    restore();
    input.focus();
  }

  /** @param {Message} message */
  function edit(message) {
    editing = message;
    input.value = message.body ?? '';
    restore();
    input.focus();
    input.setSelectionRange(input.value.length, input.value.length);
  }

  /** @param {Message} message */
  function reply(message) {
    if (editing) cancel();
    draft.reply = message;
    save();
    restore();
    input.focus();
  }

  /** @param {KeyboardEvent} event */
  function keyed(event) {
    // Safari ends the composition before the Enter that confirmed it: 229 says that an input method took the key.
    if (event.isComposing || event.keyCode === 229) return;
    if (names.keyed(event)) return;
    const own = event.key === 'ArrowUp' && !input.value && lastOwn();
    const sign = (event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey && MARKS[event.key.toLowerCase()];
    if (event.key === 'Enter' && !event.shiftKey && !matchMedia('(pointer: coarse)').matches) submit();
    else if (event.key === 'Escape' && (editing || draft.reply)) {
      event.stopPropagation();
      cancel();
    } else if (sign) mark(sign);
    else if (own) edit(own);
    else return;
    event.preventDefault();
  }

  input.addEventListener('input', changed);
  input.addEventListener('blur', () => typing(false));
  input.addEventListener('keydown', keyed);
  input.addEventListener('paste', (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    attach(files);
  });
  chooser.addEventListener('change', () => {
    attach([...(chooser.files ?? [])]);
    chooser.value = '';
  });
  drafts.on(SIGNAL.change, (changed) => changed === lane && drawTray(), signal);
  // A reload in the middle of a word keeps the word.
  addEventListener('pagehide', save, { signal });
  signal.addEventListener('abort', () => {
    typing(false);
    save();
  });

  input.value = draft.text;
  restore();
  queueMicrotask(fit);
  return { element, edit, reply, attach, focus: () => input.focus({ preventScroll: true }) };
}

/**
 * Says that the member types, no more often than it expires.
 * @param {() => string | undefined} conversationOf
 * @returns {(active: boolean) => void}
 */
function typist(conversationOf) {
  let typedAt = 0;
  return (active) => {
    const conversation = conversationOf();
    const now = Date.now();
    const isKnown = active ? now - typedAt < TYPING_EVERY_MS : !typedAt;
    if (!conversation || isKnown) return;
    typedAt = active ? now : 0;
    link.tell({ op: 'typing', conversation, active });
  };
}

/**
 * @param {File} file
 * @param {number} count
 */
function refusalOf(file, count) {
  const bytesMax = link.limits.upload_max ?? UPLOAD_BYTES_MAX;
  const filesMax = link.limits.attachments_max ?? FILES_MAX;
  if (file.size > bytesMax) return t('error.file_large', { name: file.name, size: bytes(bytesMax) });
  if (!file.size) return t('error.file_empty', { name: file.name });
  return count >= filesMax ? t('error.files_many', { count: filesMax }) : null;
}

/**
 * @param {Chosen} chosen
 * @param {(chosen: Chosen) => void} describe
 * @param {(chosen: Chosen) => void} discard
 */
function trayItem(chosen, describe, discard) {
  const { file, alt } = chosen;
  const { name } = file;
  const isImage = file.type.startsWith('image/');
  const mayDescribe = /^(image|video|audio)\//.test(file.type);
  return h(
    'li',
    null,
    isImage ? h('img', { src: localUrl(file), alt: '' }) : h('span.file-icon', null, icon('file')),
    h('span.tray-text', null, h('span.line', { dir: 'auto' }, alt || name), h('span.quiet', null, bytes(file.size))),
    mayDescribe &&
      iconButton('edit', t('compose.describe', { name }), {
        testid: 'file-describe',
        onclick: () => describe(chosen),
      }),
    iconButton('close', t('compose.remove', { name }), { testid: 'file-remove', onclick: () => discard(chosen) }),
  );
}
