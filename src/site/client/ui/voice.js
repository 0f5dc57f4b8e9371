// @ts-check
// The bar in which a voice message is recorded.
//
// Invariant: nothing of a recording leaves the page before it is sent.

import { lengthOf, t } from '../i18n.js';
import { VOICE_NAME } from '../names.js';
import { h } from './dom.js';
import { iconButton } from './icons.js';
import { announce } from './layers.js';

// A longer recording stops, and can be sent.
const VOICE_MS_MAX = 5 * 60_000;
// One that is shorter was a slip of the finger.
const VOICE_MS_MIN = 300;
const DRAW_MS = 200;

/**
 * Begins to record; fails as the microphone does.
 * @param {{signal: AbortSignal, send: (file: File, durationMs: number) => unknown, closed: () => void}} options
 */
export async function voiceBar({ signal, send, closed }) {
  const { record } = await import('../recorder.js');
  const recording = await record(() => close());
  if (signal.aborted) {
    recording.stop();
    signal.throwIfAborted();
  }
  const over = new AbortController();
  const startedAt = performance.now();
  let lastedMs = 0;

  const time = h('span.voice-time', { testid: 'voice-time', role: 'timer' });
  const dot = h('span.voice-dot');
  const sending = iconButton('send', t('compose.send'), {
    testid: 'voice-send',
    class: 'icon-button send',
    onclick: finish,
  });
  const element = h(
    'div.voice',
    {
      testid: 'voice',
      role: 'group',
      'aria-label': t('voice.recording'),
      onkeydown: (event) => {
        if (event.key !== 'Escape') return;
        event.stopPropagation();
        close();
      },
    },
    iconButton('trash', t('voice.cancel'), { testid: 'voice-cancel', onclick: close }),
    dot,
    time,
    h('span.quiet.voice-most', null, t('voice.most', { length: lengthOf(VOICE_MS_MAX) })),
    sending,
  );

  function draw() {
    if (recording.isRunning) lastedMs = Math.min(performance.now() - startedAt, VOICE_MS_MAX);
    time.textContent = lengthOf(lastedMs);
    if (lastedMs >= VOICE_MS_MAX && recording.isRunning) {
      recording.stop();
      dot.classList.add('over');
      announce(t('voice.stopped'));
    }
  }

  function close() {
    if (over.signal.aborted) return;
    over.abort();
    clearInterval(clock);
    recording.stop();
    closed();
  }

  async function finish() {
    draw();
    if (lastedMs < VOICE_MS_MIN) return;
    sending.disabled = true;
    const blob = await recording.content();
    if (over.signal.aborted) return;
    close();
    const file = new File([blob], `${VOICE_NAME}.${recording.ending}`, { type: blob.type });
    if (file.size) send(file, Math.round(lastedMs));
  }

  signal.addEventListener('abort', close, { signal: over.signal });
  const clock = setInterval(draw, DRAW_MS);
  draw();
  announce(t('voice.recording'));
  queueMicrotask(() => sending.focus());
  return element;
}
