/**
 * Memory and handles of this process, as the operating system reports them. Linux only: elsewhere reading
 * `/proc/self` throws.
 */

/** Memory and handles of this process. */
export interface ProcessStatus {
  /** Resident memory now (VmRSS). It includes a software driver's GPU buffers. */
  readonly residentBytes: number;
  /** Peak resident memory so far (VmHWM). */
  readonly peakResidentBytes: number;
  readonly threads: number;
  /** Open file descriptors. */
  readonly openFiles: number;
}

/** Reads the current values. */
export function processStatus(): ProcessStatus {
  const status = Deno.readTextFileSync("/proc/self/status");
  const field = (name: string) => Number(status.match(new RegExp(`^${name}:\\s+(\\d+)`, "m"))![1]);
  return {
    residentBytes: field("VmRSS") * 1024,
    peakResidentBytes: field("VmHWM") * 1024,
    threads: field("Threads"),
    // Reading the list opens one descriptor itself.
    openFiles: [...Deno.readDirSync("/proc/self/fd")].length - 1,
  };
}
