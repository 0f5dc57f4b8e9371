// @ts-check
// Light, dark, or as the system says.

import { local } from '../util.js';

export const themeOf = () => local.get('theme') ?? 'system';

export function applyTheme(theme = themeOf()) {
  if (theme === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  local.set('theme', theme);
}
