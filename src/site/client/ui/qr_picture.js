// @ts-check
// The picture of a QR code.

const SVG = 'http://www.w3.org/2000/svg';
// Modules of light around a QR code.
const QUIET = 4;

/**
 * Null for a text that is too long.
 * @param {string} text
 * @param {string} label
 * @param {string} testid
 */
export async function qrPicture(text, label, testid) {
  const { qrCode } = await import('./qr.js');
  const rows = qrCode(text);
  if (!rows) return null;
  const size = rows.length + 2 * QUIET;
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', `0 0 ${size} ${size}`);
  svg.setAttribute('class', 'qr');
  svg.setAttribute('role', 'img');
  svg.setAttribute('aria-label', label);
  svg.dataset.testid = testid;
  const path = document.createElementNS(SVG, 'path');
  const dark = rows.flatMap((row, y) =>
    row.flatMap((isDark, x) => (isDark ? [`M${x + QUIET} ${y + QUIET}h1v1h-1z`] : [])),
  );
  path.setAttribute('d', dark.join(''));
  svg.append(path);
  return svg;
}
