/** What the operating system says of this process. Linux only: elsewhere reading `/proc/self` throws. */

/** Memory and handles of this process. */
export interface ProcessStatus {
  /** Resident now (VmRSS); a software driver's GPU buffers lie among it. */
  readonly residentBytes: number;
  /** The most resident so far (VmHWM). */
  readonly peakResidentBytes: number;
  readonly threads: number;
  /** Open file descriptors. */
  readonly openFiles: number;
}

/** Reads all at once. */
export function processStatus(): ProcessStatus {
  const status = Deno.readTextFileSync("/proc/self/status");
  const field = (name: string) => Number(status.match(new RegExp(`^${name}:\\s+(\\d+)`, "m"))![1]);
  return {
    residentBytes: field("VmRSS") * 1024,
    peakResidentBytes: field("VmHWM") * 1024,
    threads: field("Threads"),
    // The list is read through a descriptor of its own.
    openFiles: [...Deno.readDirSync("/proc/self/fd")].length - 1,
  };
}
