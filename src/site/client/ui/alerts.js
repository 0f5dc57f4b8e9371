// @ts-check
// Notifications and the sound of messages that arrive while no one looks at natter.

import { lang } from '../i18n.js';
import { SIGNAL, TOPIC } from '../names.js';
import { installed } from '../net/installed.js';
import { outdatedOf, wordsOfNotice } from '../notice.js';
import { Alerts } from '../state/alerts.js';
import { claim } from '../state/device.js';
import { mentionsMe } from '../state/mentions.js';
import { model } from '../state/model.js';
import { push } from '../state/push.js';
import { watched } from '../state/watched.js';
import { debounce, wait } from '../util.js';

const ICON = '/client/icon-192.png';
const BADGE = '/client/badge.png';
const NAME_MS_MAX = 2_000;
const CLEAR_AFTER_MS = 500;
// Two notes, each with its start.
const NOTES = [
  [660, 0],
  [880, 0.12],
];
const NOTE_S = 0.3;
const LOUDNESS = 0.08;

/** @typedef {import('../../types.d.ts').Message} Message */
/** @typedef {import('../notice.js').Notice} Notice */

/** @param {AbortSignal} signal */
export function startAlerts(signal) {
  const alerts = new Alerts({ claim, isWatched: () => watched.anywhere(), show, ring, now: Date.now });
  /** @param {Message} message */
  const arrived = async (message) => {
    if (message.kind) return;
    const conversation = await model.conversation(message.conversation);
    if (!conversation || signal.aborted) return;
    const isRead = conversation.read_n >= message.n;
    const isMentioned = mentionsMe(message, model.me?.id ?? '');
    const { muted: isMuted, id, type, title, unread } = conversation;
    const facts = { conversation: id, isGroup: type === 'group', title: title ?? '', unread, n: message.n };
    const sender = await nameOfSender(message.sender);
    if (signal.aborted) return;
    const files = message.attachments.length;
    const notice = { ...facts, sender, body: message.body ?? '', files, isMention: isMentioned };
    await alerts.arrived(notice, { isMuted, isMentioned, isRead });
  };
  model.on(TOPIC.arrived, (message) => void arrived(message).catch(console.error), signal);
  model.on(TOPIC.list, debounce(clearRead, CLEAR_AFTER_MS), signal);
  let total = -1;
  const drawBadge = () => {
    if (model.unreadTotal() === total) return;
    total = model.unreadTotal();
    navigator.setAppBadge?.(total).catch(() => {}); // where no icon has one
  };
  model.on(TOPIC.list, drawBadge, signal);
}

/** @param {string | null} id */
async function nameOfSender(id) {
  if (!id) return '';
  const until = Date.now() + NAME_MS_MAX;
  while (!model.people.person(id) && Date.now() < until) await wait(50);
  return model.people.get(id)?.display_name ?? '';
}

/** @param {Notice} notice */
async function show(notice) {
  const { level } = push;
  if (level === 'off' || globalThis.Notification?.permission !== 'granted') return;
  const { title, body } = wordsOfNotice(notice, level, push.words, lang());
  const { conversation, n, unread } = notice;
  await installed.registration?.showNotification(
    title,
    /** @type {NotificationOptions} */ ({
      body,
      tag: conversation,
      lang: lang(),
      dir: 'auto',
      icon: ICON,
      badge: BADGE,
      data: { conversation, n, unread },
      renotify: true,
      silent: push.hasSound,
    }),
  );
}

// What was read meanwhile, on any device, is no news.
async function clearRead() {
  const shown = (await installed.registration?.getNotifications()) ?? [];
  for (const notification of outdatedOf(shown, (id) => model.conversations.get(id))) notification.close();
}

/** @type {AudioContext | undefined} */
let audio;

export function ring() {
  if (!push.hasSound || !('AudioContext' in globalThis)) return;
  audio ??= new AudioContext();
  for (const [pitch, start] of NOTES) {
    const at = audio.currentTime + start;
    const [note, volume] = [audio.createOscillator(), audio.createGain()];
    note.frequency.value = pitch;
    volume.gain.setValueAtTime(LOUDNESS, at);
    volume.gain.exponentialRampToValueAtTime(0.0001, at + NOTE_S);
    note.connect(volume).connect(audio.destination);
    note.start(at);
    note.stop(at + NOTE_S);
  }
}

/**
 * Tells the server what this tab shows: it pushes nothing of that conversation.
 * @param {import('../net/link.js').Connection} connection
 * @param {() => string | null} openId
 * @param {AbortSignal} signal
 * @returns {() => void} to be called when another conversation is open
 */
export function startFocus(connection, openId, signal) {
  let told = /** @type {string | null} */ (null);
  const tell = () => {
    const conversation = watched.now ? openId() : null;
    if (conversation === told) return;
    told = conversation;
    connection.tell({ op: 'focus', conversation });
  };
  // A new connection shows nothing yet.
  const again = () => {
    told = null;
    tell();
  };
  connection.on(SIGNAL.caughtUp, again, signal);
  watched.on(SIGNAL.change, tell, signal);
  return tell;
}
