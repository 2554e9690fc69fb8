// Write numbers as people read them: short, and never rounded to a certainty that nobody has.

const MINUS = "\u2212";
const NARROW = "\u202f"; // a space that does not break

/** Write a probability: 0.9971 as 99.7 %, and 0.99999 as > 99.9 %. */
export function percent(share, digits = 1) {
  const least = 10 ** -digits;
  const value = share * 100;
  if (share > 0 && value < least) return `<${NARROW}${least}${NARROW}%`;
  if (share < 1 && value > 100 - least) return `>${NARROW}${(100 - least).toFixed(digits)}${NARROW}%`;
  return `${value.toFixed(digits)}${NARROW}%`;
}

/** Write a threshold, which is as round as who chose it. */
export function round(share) {
  return percent(share).replace(".0", "");
}

/** Write a number with three digits that count. */
export function short(number) {
  if (number === 0) return "0";
  if (number < 0.1) return "<" + NARROW + "0.1";
  return number >= 100 ? Math.round(number).toLocaleString("en") : number.toFixed(number >= 10 ? 0 : 1);
}

/** Write a time in milliseconds, or in seconds if it is long; nothing is a dash. */
export function wait(milliseconds) {
  if (milliseconds === null || milliseconds === undefined) return "–";
  const long = milliseconds >= 1000;
  return `${short(long ? milliseconds / 1000 : milliseconds)}${NARROW}${long ? "s" : "ms"}`;
}

/** Write a change with its sign. */
export function signed(number) {
  return `${number < 0 ? MINUS : "+"}${Math.abs(number).toFixed(1)}`;
}

/** Write the time of day of an ISO date, where the reader is. */
export function clock(date) {
  return new Date(date).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
}
