// @ts-check
// What a member says about a file before it is sent: its content in words, and whether its pixels stay as they are.

import { t } from '../i18n.js';
import { toggleRow } from './controls.js';
import { h } from './dom.js';
import { localUrl } from './files.js';
import { field } from './forms.js';
import { openDialog } from './layers.js';

// As the server's.
const ALT_MAX = 1_000;
// A picture that moves is never made smaller.
const SCALED = /^image\/(?!gif)/;

/**
 * @param {import('../state/outbox.js').Chosen} chosen
 * @param {() => void} changed
 */
export function openDescription(chosen, changed) {
  const { file } = chosen;
  openDialog({
    title: file.name,
    testid: 'describe-dialog',
    small: true,
    build: ({ close }) => {
      const alt = field({
        name: 'alt',
        label: t('compose.alt'),
        hint: t('compose.alt_hint'),
        testid: 'field-alt',
        dir: 'auto',
        maxlength: ALT_MAX,
        value: chosen.alt ?? '',
      });
      let { original } = chosen;
      const save = () => {
        const text = alt.querySelector('input')?.value ?? '';
        // Without what turns the direction of the text around it, which the server does not take.
        chosen.alt = text.replace(/[\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, '').trim();
        chosen.original = original;
        close();
        changed();
      };
      return h(
        'form.describe',
        {
          method: 'dialog',
          onsubmit: (event) => {
            event.preventDefault();
            save();
          },
        },
        file.type.startsWith('image/') && h('img.describe-picture', { src: localUrl(file), alt: '' }),
        alt,
        SCALED.test(file.type) &&
          toggleRow({
            label: t('compose.original'),
            hint: t('compose.original_hint'),
            value: original,
            testid: 'describe-original',
            change: async (value) => {
              original = value;
            },
          }),
        h('div.row.end', null, h('button.button.primary', { testid: 'describe-submit' }, t('save'))),
      );
    },
  });
}
