/** NVIDIA's compiler of CUDA C++ as a library: it needs no GPU, no driver and no other compiler. */

/** The release that is used: its files' names and its machine code differ from others'. */
const release = "13.0";

const symbols = {
  nvrtcVersion: { parameters: ["buffer", "buffer"], result: "i32" },
  nvrtcCreateProgram: {
    parameters: ["buffer", "buffer", "buffer", "i32", "pointer", "pointer"],
    result: "i32",
  },
  nvrtcCompileProgram: { parameters: ["pointer", "i32", "buffer"], result: "i32", nonblocking: true },
  nvrtcDestroyProgram: { parameters: ["buffer"], result: "i32" },
  nvrtcGetProgramLogSize: { parameters: ["pointer", "buffer"], result: "i32" },
  nvrtcGetProgramLog: { parameters: ["pointer", "buffer"], result: "i32" },
  nvrtcGetCUBINSize: { parameters: ["pointer", "buffer"], result: "i32" },
  nvrtcGetCUBIN: { parameters: ["pointer", "buffer"], result: "i32" },
} as const;

/** What the compiler made of a program. */
export interface Compiled {
  /** The compiler's words, ptxas's among them. */
  readonly log: string;
  /** The machine code, an ELF file. */
  readonly cubin: Uint8Array;
}

const bytesOf = (text: string) => new TextEncoder().encode(`${text}\0`);

export class Nvrtc implements Disposable {
  readonly #library: Deno.DynamicLibrary<typeof symbols>;
  readonly #builtIns: Deno.DynamicLibrary<Record<never, never>>;

  /** Opens the compiler in `folder`. Throws an Error that names the file that cannot be opened. */
  constructor(folder: string) {
    // The library asks for this one by its bare name, which is found where it is open already.
    this.#builtIns = Deno.dlopen(`${folder}/libnvrtc-builtins.so.${release}`, {});
    this.#library = Deno.dlopen(`${folder}/libnvrtc.so.${release.split(".")[0]}`, symbols);
  }

  /** Such as `NVRTC 13.0`. */
  version(): string {
    const [major, minor] = [new Int32Array(1), new Int32Array(1)];
    this.#check("nvrtcVersion", this.#library.symbols.nvrtcVersion(major, minor));
    return `NVRTC ${major[0]}.${minor[0]}`;
  }

  /** Compiles CUDA C++ for an architecture, such as `sm_90`. Throws an Error with the compiler's words. */
  async compile(source: string, architecture: string): Promise<Compiled> {
    const { nvrtcCreateProgram, nvrtcCompileProgram, nvrtcDestroyProgram } = this.#library.symbols;
    const program = new BigUint64Array(1);
    const name = bytesOf("kernel.cu");
    this.#check("nvrtcCreateProgram", nvrtcCreateProgram(program, bytesOf(source), name, 0, null, null));
    try {
      const handle = Deno.UnsafePointer.create(program[0]);
      const options = [
        `--gpu-architecture=${architecture}`,
        "--std=c++17",
        "--use_fast_math",
        "--device-as-default-execution-space",
        "--disable-warnings",
        "--ptxas-options=-v",
      ].map(bytesOf);
      const list = BigUint64Array.from(
        options,
        (own) => Deno.UnsafePointer.value(Deno.UnsafePointer.of(own)),
      );
      const result = await nvrtcCompileProgram(handle, options.length, list);
      const log = new TextDecoder().decode(this.#read(handle, "nvrtcGetProgramLogSize", "nvrtcGetProgramLog"))
        .replace(/\0$/, "");
      if (result !== 0) throw new Error(log.trim());
      return { log, cubin: this.#read(handle, "nvrtcGetCUBINSize", "nvrtcGetCUBIN") };
    } finally {
      nvrtcDestroyProgram(program);
    }
  }

  #read(
    program: Deno.PointerValue,
    size: "nvrtcGetProgramLogSize" | "nvrtcGetCUBINSize",
    content: "nvrtcGetProgramLog" | "nvrtcGetCUBIN",
  ): Uint8Array {
    const bytes = new BigUint64Array(1);
    this.#check(size, this.#library.symbols[size](program, bytes));
    const out = new Uint8Array(Number(bytes[0]));
    this.#check(content, this.#library.symbols[content](program, out));
    return out;
  }

  #check(call: string, result: number): void {
    if (result !== 0) throw new Error(`${call} failed with nvrtcResult ${result}`);
  }

  [Symbol.dispose](): void {
    this.#library.close();
    this.#builtIns.close();
  }
}
