/** Preloaded into a command: the clock goes back an hour whenever it is read. */

const { now } = Date;
let hours = 0;

Date.now = () => now() - 3_600_000 * hours++;
globalThis.Date = new Proxy(Date, {
  construct: (target, args) => Reflect.construct(target, args.length > 0 ? args : [Date.now()]),
});
