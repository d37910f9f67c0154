// Numbers and times in words.

const number = new Intl.NumberFormat("en");

export const count = (value) => number.format(value);

// How long something took, or takes: 3 digits say enough.
export function span(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds === 0) return "0 s";
  if (seconds < 0.9995) return `${Math.max(1, Math.round(seconds * 1000))} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  return rough(seconds);
}

// The same in whole seconds, for what is counted down.
export function rough(seconds) {
  const whole = Math.ceil(seconds);
  if (whole < 120) return `${whole} s`;
  if (whole < 7200) return two(whole, 60, "min", "s");
  if (whole < 172800) return two(Math.floor(whole / 60), 60, "h", "min");
  return two(Math.floor(whole / 3600), 24, "d", "h");
}

function two(value, size, large, small) {
  const rest = value % size;
  return `${Math.floor(value / size)} ${large}${rest ? ` ${rest} ${small}` : ""}`;
}

// A time of day; of another day with its date.
export function clock(milliseconds) {
  const [date, time] = [new Date(milliseconds), new Date(milliseconds).toLocaleTimeString("en-GB")];
  if (date.toDateString() === new Date().toDateString()) return time;
  return `${date.toLocaleDateString("en-GB", { day: "numeric", month: "short" })} ${time}`;
}
