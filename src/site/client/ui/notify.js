// @ts-check
// The settings of notifications on this device.

import { t } from '../i18n.js';
import { model } from '../state/model.js';
import { push } from '../state/push.js';
import { ring } from './alerts.js';
import { choices, toggleRow } from './controls.js';
import { h } from './dom.js';
import { icon } from './icons.js';
import { failed } from './layers.js';

/** @typedef {import('../notice.js').Level} Level */

const CHOOSABLE = ['off', 'here', 'on'];
const SIGNS = /** @type {Record<string, string>} */ ({ on: 'check', here: 'info', off: 'mute', asking: 'clock' });

/** @param {() => void} again draws the panel again */
export function notifyPanel(again) {
  const { state, level } = push;
  const line = h('p.notice', { role: 'status', testid: 'notify-state' });
  /** @param {string} name */
  const say = (name) => {
    line.dataset.state = name;
    line.replaceChildren(icon(SIGNS[name] ?? 'alert'), h('span', null, t(`notify.state_${name}`)));
  };
  /** @param {string} key */
  const choose = async (key) => {
    if (key !== 'off' && Notification.permission === 'default') say('asking');
    else line.dataset.state = 'busy';
    try {
      await push.choose(/** @type {Level} */ (key));
    } catch (error) {
      failed(error);
    }
    again();
  };
  const levels = ['off', 'who', 'text'].map((key) => /** @type {[string, string]} */ ([key, t(`notify.level_${key}`)]));
  const shown = state === 'off' ? 'off' : level;
  say(state);
  return [
    line,
    CHOOSABLE.includes(state) && choices(t('notify.device'), 'notify', levels, shown, choose),
    CHOOSABLE.includes(state) && h('p.quiet', null, t('notify.hint')),
    toggleRow({
      label: t('notify.sound'),
      hint: t('notify.sound_hint'),
      value: push.hasSound,
      testid: 'notify-sound',
      change: async (isOn) => {
        push.hasSound = isOn;
        // Also lets the browser play it later, when no one touches the page.
        ring();
      },
    }),
    model.hasMails &&
      toggleRow({
        label: t('notify.digest'),
        hint: t('notify.digest_hint'),
        value: Boolean(model.member?.digest),
        testid: 'notify-digest',
        change: (isOn) => model.setDigest(isOn),
      }),
  ];
}
