/** When it is time to purge: once a day at a local time, whatever the clocks do in spring and autumn. */
import { Cron } from 'croner';

export type TimeOfDay = { hour: number; minute: number };

export type Schedule = {
  /** The first time after `ms` (since 1970), not at it. */
  nextMs: (ms: number) => number;
  /** The last time at or before `ms`. */
  lastMs: (ms: number) => number;
};

/** No day between two runs is longer than this. */
const LONG_DAY_MS = 26 * 3_600_000;

/** `timeZone`: an IANA name; undefined: that of this machine. A time that a day does not have (the clocks go forward) is the first one
 *  after the gap; of one that it has twice, the first counts. */
export function dailyAt({ hour, minute }: TimeOfDay, timeZone: string | undefined): Schedule {
  const cron = new Cron(`${minute} ${hour} * * *`, { paused: true, ...(timeZone === undefined ? {} : { timezone: timeZone }) });
  const nextMs = (ms: number): number => {
    const next = cron.nextRun(new Date(ms));
    if (next === null) throw new Error(`there is no ${hour}:${minute} after ${new Date(ms).toISOString()}`);
    return next.getTime();
  };
  return {
    nextMs,
    lastMs: (ms) => {
      let last = nextMs(ms - 2 * LONG_DAY_MS);
      for (let next = nextMs(last); next <= ms; next = nextMs(last)) last = next;
      return last;
    },
  };
}

/** "02:00", "23:59"; undefined when it is none. */
export function parseTimeOfDay(text: string): TimeOfDay | undefined {
  const [, hour, minute] = /^([01][0-9]|2[0-3]):([0-5][0-9])$/.exec(text) ?? [];
  return hour === undefined ? undefined : { hour: Number(hour), minute: Number(minute) };
}

export function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}
