/** Disks of a test's own in the host's memory, where this process may mount them: root may, outside of most containers. */

async function mount(...args: string[]): Promise<boolean> {
  try {
    return (await new Deno.Command("mount", { args, stderr: "null" }).output()).success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** A disk, until it is disposed of. */
export class Disk implements AsyncDisposable {
  private constructor(private readonly folder: string) {}

  /** Mounts one of `size`, such as "64k", at `folder`; undefined where that is refused. */
  static async at(folder: string, size: string): Promise<Disk | undefined> {
    await Deno.mkdir(folder, { recursive: true });
    return await mount("-t", "tmpfs", "-o", `size=${size}`, "tmpfs", folder) ? new Disk(folder) : undefined;
  }

  /** Changes its options, such as "ro" or "size=1m". */
  async change(options: string): Promise<void> {
    if (!await mount("-o", `remount,${options}`, this.folder)) {
      throw new Error(`cannot remount ${this.folder}`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { success } = await new Deno.Command("umount", { args: [this.folder] }).output();
    if (!success) throw new Error(`cannot unmount ${this.folder}`);
  }
}
