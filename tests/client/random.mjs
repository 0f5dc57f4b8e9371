// Numbers from a seed: a test that fails says its seed, and fails again with it.

export function random(seed) {
  let state = seed >>> 0;
  // Mulberry32.
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

export const seeds = (count) => Array.from({ length: count }, (_, i) => i + 1);
