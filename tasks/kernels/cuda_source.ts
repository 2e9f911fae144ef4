/**
 * Translates a kernel from SPIR-V to CUDA C++, for NVIDIA's compiler, which does not read SPIR-V outside of the
 * driver. A value becomes a variable, a block a label, a jump a goto, and a function a method of a struct that
 * holds the kernel's buffers; the compiler inlines all of it. What the zeroing of workgroup memory costs is
 * left out: in Vulkan the driver adds it.
 */

import prelude from "./cuda_prelude.cuh" with { type: "text" };
import { type Instruction, readSpirv } from "./spirv_module.ts";

/** The name of every translated kernel. */
export const entryName = "kernel_main";

/** Ops that work on scalars, and element by element on vectors, as C++ of their operands a, b and c. */
const elementwise: Readonly<Record<string, string>> = {
  ...{ SNegate: "-a", FNegate: "-a", LogicalNot: "!a", Not: "~a" },
  ...{ IAdd: "a + b", FAdd: "a + b", ISub: "a - b", FSub: "a - b", IMul: "a * b", FMul: "a * b" },
  ...{ UDiv: "a / b", SDiv: "a / b", FDiv: "a / b", UMod: "a % b", SRem: "a % b", FRem: "fmodf(a, b)" },
  ...{ LogicalEqual: "a == b", LogicalNotEqual: "a != b", LogicalOr: "a || b", LogicalAnd: "a && b" },
  ...{ IEqual: "a == b", INotEqual: "a != b", FOrdEqual: "a == b", FOrdNotEqual: "a != b" },
  ...{ FUnordNotEqual: "a != b", UGreaterThan: "a > b", SGreaterThan: "a > b", FOrdGreaterThan: "a > b" },
  ...{ UGreaterThanEqual: "a >= b", SGreaterThanEqual: "a >= b", FOrdGreaterThanEqual: "a >= b" },
  ...{ ULessThan: "a < b", SLessThan: "a < b", FOrdLessThan: "a < b" },
  ...{ ULessThanEqual: "a <= b", SLessThanEqual: "a <= b", FOrdLessThanEqual: "a <= b" },
  ...{ ShiftLeftLogical: "a << b", ShiftRightLogical: "a >> b", ShiftRightArithmetic: "a >> b" },
  ...{ BitwiseOr: "a | b", BitwiseXor: "a ^ b", BitwiseAnd: "a & b", Select: "a ? b : c" },
  ...{ BitFieldSExtract: "bit_field(a, b, c)", BitFieldUExtract: "bit_field(a, b, c)" },
};

/** Functions of GLSL.std.450 by their numbers, in the same way. */
const glsl: Readonly<Record<number, string>> = {
  ...{
    2: "rintf(a)",
    3: "truncf(a)",
    4: "fabsf(a)",
    5: "abs(a)",
    6: "sign(a)",
    8: "floorf(a)",
    9: "ceilf(a)",
  },
  ...{
    13: "__sinf(a)",
    14: "__cosf(a)",
    21: "tanhf(a)",
    26: "__powf(a, b)",
    27: "__expf(a)",
    28: "__logf(a)",
  },
  ...{ 29: "exp2f(a)", 30: "__log2f(a)", 31: "sqrtf(a)", 32: "rsqrtf(a)" },
  ...{ 37: "least(a, b)", 38: "least(a, b)", 39: "least(a, b)", 79: "least(a, b)" },
  ...{ 40: "greatest(a, b)", 41: "greatest(a, b)", 42: "greatest(a, b)", 80: "greatest(a, b)" },
  ...{ 43: "least(greatest(a, b), c)", 44: "least(greatest(a, b), c)", 45: "least(greatest(a, b), c)" },
  ...{ 81: "least(greatest(a, b), c)", 46: "a + (b - a) * c", 50: "fmaf(a, b, c)" },
  ...{ 62: "halves_of(a)" },
};

/** Inputs of the entry point by SPIR-V's numbers of built-ins. */
const builtIns: Readonly<Record<number, string>> = {
  ...{ 24: "num_workgroups()", 26: "workgroup_id()", 27: "local_id()", 28: "global_id()" },
  ...{ 29: "local_index()", 36: "32u", 38: "subgroup_count()", 40: "subgroup_id()", 41: "subgroup_lane()" },
};

/** Storage classes and decorations by SPIR-V's numbers. */
const classes = { input: 1, uniform: 2, workgroup: 4, private: 6, storage: 12 } as const;
const decorations = { builtIn: 11, nonWritable: 24, binding: 33 } as const;

const localSize = 17;

type Type =
  | { readonly kind: "scalar" | "void"; readonly text: string }
  | { readonly kind: "vector" | "array"; readonly text: string; readonly of: number; readonly count: number }
  | { readonly kind: "open array"; readonly text: string; readonly of: number }
  | { readonly kind: "struct"; readonly text: string; readonly members: readonly number[] }
  | { readonly kind: "pointer"; readonly text: string; readonly of: number; readonly storage: number };

/** A function's instructions, in order. */
interface FunctionBody {
  readonly head: Instruction;
  readonly body: Instruction[];
}

/** CUDA C++ of the kernel, with threads per workgroup. Throws an Error that names what it cannot translate. */
export function cudaSource(spirv: Uint8Array): { readonly text: string; readonly threads: number } {
  return new Translation(readSpirv(spirv)).result();
}

class Translation {
  readonly #types = new Map<number, Type>();
  /** The types of values and the texts of constants, by id. */
  readonly #typeOf = new Map<number, number>();
  readonly #constants = new Map<number, string>();
  readonly #decorations = new Map<string, readonly number[]>();
  readonly #globals: Instruction[] = [];
  readonly #functions: FunctionBody[] = [];
  /** Expressions of what pointers lead to, by id. */
  readonly #places = new Map<number, string>();
  #entry = 0;
  #threads = 0;

  constructor(instructions: readonly Instruction[]) {
    let open: FunctionBody | undefined;
    for (const instruction of instructions) {
      const { op, type, result } = instruction;
      if (type !== 0) this.#typeOf.set(result, type);
      if (op === "Function") this.#functions.push(open = { head: instruction, body: [] });
      else if (op === "FunctionEnd") open = undefined;
      else if (open) open.body.push(instruction);
      else this.#declare(instruction);
    }
  }

  result() {
    for (const { type, result } of this.#globals) this.#places.set(result, this.#globalPlace(type, result));
    const methods = this.#functions.map((own) => this.#method(own));
    const buffers = this.#globalsOf(classes.storage, classes.uniform)
      .toSorted((a, b) => this.#decorated(a.result, "binding") - this.#decorated(b.result, "binding"));
    const structs = [...this.#types.values()].filter(({ kind }) => kind === "struct");
    const text = [
      prelude,
      ...structs.map((type) => this.#structText(type)),
      ...this.#globalsOf(classes.workgroup).map(({ type, result }) =>
        `__shared__ ${this.#pointee(type).text} v${result};`
      ),
      "struct Kernel {",
      ...buffers.map((own) => `${this.#bufferType(own)} &v${own.result};`),
      ...this.#globalsOf(classes.private).map(({ type, result, operands: [, value] }) =>
        `${this.#pointee(type).text} v${result} = ${value === undefined ? "{}" : this.#value(value)};`
      ),
      ...methods,
      "};",
      `extern "C" __global__ void __launch_bounds__(${this.#threads}) ${entryName}(`,
      buffers.map((own) => this.#parameter(own)).join(", "),
      ") {",
      `Kernel{${buffers.map((own) => this.#argument(own)).join(", ")}}.function${this.#entry}();`,
      "}",
      "",
    ].join("\n");
    return { text, threads: this.#threads };
  }

  // Declarations of the module.

  #declare({ op, type, result, operands }: Instruction): void {
    const [first, second] = operands;
    if (op.startsWith("Type")) this.#types.set(result, this.#typeFrom(op, result, operands));
    else if (op === "EntryPoint") this.#entry = second;
    else if (op === "ExecutionMode" && second === localSize) this.#threads = product(operands.slice(2));
    else if (op === "Decorate") this.#decorations.set(`${first} ${second}`, operands.slice(2));
    else if (op === "Variable") this.#globals.push({ op, type, result, operands });
    else if (op === "ConstantTrue" || op === "ConstantFalse") {
      this.#constants.set(result, op.slice(8).toLowerCase());
    } else if (op === "Constant") this.#constants.set(result, constant(this.#type(type).text, first));
    else if (op === "ConstantNull" || op === "Undef") {
      this.#constants.set(result, `${this.#type(type).text}{}`);
    } else if (op === "ConstantComposite") this.#constants.set(result, this.#composite(type, operands));
  }

  #typeFrom(op: string, result: number, operands: readonly number[]): Type {
    const [first, second] = operands;
    switch (op) {
      case "TypeVoid":
        return { kind: "void", text: "void" };
      case "TypeBool":
        return { kind: "scalar", text: "bool" };
      case "TypeInt":
      case "TypeFloat":
        if (first !== 32 && !(op === "TypeInt" && first === 8)) {
          throw new Error(`numbers of ${first} bits are not translated`);
        }
        return { kind: "scalar", text: `${op === "TypeFloat" ? "f" : second === 1 ? "i" : "u"}${first}` };
      case "TypeVector":
        return {
          kind: "vector",
          text: `vec<${this.#type(first).text}, ${second}>`,
          of: first,
          count: second,
        };
      case "TypeArray": {
        const count = parseInt(this.#value(second));
        return { kind: "array", text: `array<${this.#type(first).text}, ${count}>`, of: first, count };
      }
      // The last member of a buffer: C++ is told of one element, and takes it for the first of many.
      case "TypeRuntimeArray":
        return { kind: "open array", text: `array<${this.#type(first).text}, 1>`, of: first };
      case "TypeStruct":
        return { kind: "struct", text: `S${result}`, members: operands };
      case "TypePointer":
        return { kind: "pointer", text: `${this.#type(second).text} *`, of: second, storage: first };
      default:
        return { kind: "void", text: op };
    }
  }

  #type(id: number): Type {
    const found = this.#types.get(id);
    if (!found) throw new Error(`type %${id} is not declared before its use`);
    return found;
  }

  /** What pointers of type `id` lead to. */
  #pointee(id: number): Type {
    const type = this.#type(id);
    if (type.kind !== "pointer") throw new Error(`%${id} is no type of pointers`);
    return this.#type(type.of);
  }

  #structText(type: Type): string {
    if (type.kind !== "struct") throw new Error(`${type.text} is no struct`);
    return `struct ${type.text} { ${
      type.members.map((own, i) => `${this.#type(own).text} m${i};`).join(" ")
    } };`;
  }

  #decorated(id: number, decoration: keyof typeof decorations): number {
    return this.#decorations.get(`${id} ${decorations[decoration]}`)?.[0] ?? -1;
  }

  #globalsOf(...storage: readonly number[]): Instruction[] {
    return this.#globals.filter(({ operands }) => storage.includes(operands[0]));
  }

  #globalPlace(type: number, id: number): string {
    const pointer = this.#type(type);
    if (pointer.kind !== "pointer" || pointer.storage !== classes.input) return `v${id}`;
    const found = builtIns[this.#decorated(id, "builtIn")];
    if (found === undefined) throw new Error(`built-in ${this.#decorated(id, "builtIn")} is not translated`);
    return found;
  }

  #isRead({ result, operands }: Instruction): boolean {
    return operands[0] === classes.uniform || this.#decorations.has(`${result} ${decorations.nonWritable}`);
  }

  #bufferType(own: Instruction): string {
    return `${this.#isRead(own) ? "const " : ""}${this.#pointee(own.type).text}`;
  }

  #parameter(own: Instruction): string {
    return own.operands[0] === classes.uniform
      ? `const __grid_constant__ ${this.#pointee(own.type).text} p${own.result}`
      : `${this.#bufferType(own)} *__restrict__ p${own.result}`;
  }

  #argument({ result, operands }: Instruction): string {
    return operands[0] === classes.uniform ? `p${result}` : `*p${result}`;
  }

  // Functions.

  #method({ head, body }: FunctionBody): string {
    const parameters = body.filter(({ op }) => op === "FunctionParameter");
    for (const { type, result } of parameters) {
      if (this.#type(type).kind === "pointer") this.#places.set(result, `(*v${result})`);
    }
    const phis = body.filter(({ op }) => op === "Phi");
    const lines = phis.map(({ type, result }) => `${this.#type(type).text} v${result};`);
    let block = 0;
    for (const instruction of body) {
      if (instruction.op === "Label") block = instruction.result;
      // A phi's value is set where its block is left for the phi's.
      if (/^(Branch|BranchConditional|Switch)$/.test(instruction.op)) {
        lines.push(...this.#settled(phis, block));
      }
      lines.push(...this.#statement(instruction));
    }
    const list = parameters.map(({ type, result }) => `${this.#type(type).text} v${result}`).join(", ");
    return `__forceinline__ ${this.#type(head.type).text} function${head.result}(${list}) {\n${
      lines.join("\n")
    }\n}`;
  }

  #settled(phis: readonly Instruction[], block: number): string[] {
    return phis.flatMap(({ result, operands }) =>
      pairs(operands).filter(([, from]) => from === block).map(([value]) =>
        `v${result} = ${this.#value(value)};`
      )
    );
  }

  #statement(instruction: Instruction): string[] {
    const { op, type, result, operands } = instruction;
    const [first, second, third] = operands;
    switch (op) {
      case "FunctionParameter":
      case "Phi":
      case "LoopMerge":
      case "SelectionMerge":
      case "MemoryBarrier":
        return [];
      case "Label":
        return [`L${result}:;`];
      case "Branch":
        return [`goto L${first};`];
      case "BranchConditional":
        return [`if (${this.#value(first)}) goto L${second}; else goto L${third};`];
      case "Switch": {
        const cases = pairs(operands.slice(2)).map(([value, label]) => `case ${value}: goto L${label};`);
        return [`switch (${this.#value(first)}) { ${cases.join(" ")} default: goto L${second}; }`];
      }
      case "Return":
        return ["return;"];
      case "ReturnValue":
        return [`return ${this.#value(first)};`];
      case "Unreachable":
        return ["__builtin_unreachable();"];
      case "ControlBarrier":
        return ["__syncthreads();"];
      case "Store":
        return [`${this.#place(first)} = ${this.#value(second)};`];
      case "Variable":
        this.#places.set(result, `v${result}`);
        return this.#defined(
          this.#pointee(type),
          result,
          second === undefined ? undefined : this.#value(second),
        );
      case "AccessChain":
        this.#places.set(result, this.#chained(first, operands.slice(1)));
        return [];
      default:
        return this.#defined(this.#type(type), result, this.#expression(instruction));
    }
  }

  /** A variable and, in a statement of its own that a goto may jump over, its value. */
  #defined(type: Type, id: number, value: string | undefined): string[] {
    if (type.kind === "void") return value === undefined ? [] : [`${value};`];
    return value === undefined ? [`${type.text} v${id};`] : [`${type.text} v${id}; v${id} = ${value};`];
  }

  #value(id: number): string {
    return this.#constants.get(id) ?? `v${id}`;
  }

  #place(id: number): string {
    const found = this.#places.get(id);
    if (found === undefined) throw new Error(`%${id} is no pointer`);
    return found;
  }

  #chained(base: number, indices: readonly number[]): string {
    const pointer = this.#type(this.#typeOf.get(base)!);
    if (pointer.kind !== "pointer") throw new Error(`%${base} is no pointer`);
    return this.#inside(this.#place(base), pointer.of, indices, (id) => this.#value(id));
  }

  /** The part of a value of type `type` that the indices lead to; `text` writes an index. */
  #inside(whole: string, type: number, indices: readonly number[], text: (index: number) => string): string {
    let [at, of] = [whole, type];
    for (const index of indices) {
      const own = this.#type(of);
      if (own.kind === "struct") {
        const member = parseInt(text(index));
        [at, of] = [`${at}.m${member}`, own.members[member]];
      } else if ("of" in own) [at, of] = [`${at}[${text(index)}]`, own.of];
      else throw new Error(`${own.text} has no parts`);
    }
    return at;
  }

  // Expressions.

  #expression({ op, type, operands }: Instruction): string {
    const [first, second, third] = operands;
    const result = this.#type(type);
    if (op in elementwise) return this.#mapped(elementwise[op], operands);
    switch (op) {
      case "Undef":
        return `${result.text}{}`;
      case "Load":
        return this.#place(first);
      case "ExtInst":
        if (!(second in glsl)) throw new Error(`GLSL.std.450's function ${second} is not translated`);
        return this.#mapped(glsl[second], operands.slice(2));
      case "FunctionCall":
        return `function${first}(${operands.slice(1).map((id) => this.#passed(id)).join(", ")})`;
      case "CompositeConstruct":
        return this.#composite(type, operands);
      case "CompositeExtract":
        return this.#inside(this.#value(first), this.#typeOf.get(first)!, operands.slice(1), String);
      case "VectorExtractDynamic":
        return `${this.#value(first)}[${this.#value(second)}]`;
      case "VectorShuffle":
        return this.#shuffled(result.text, first, second, operands.slice(2));
      case "ConvertFToU":
      case "ConvertFToS":
      case "ConvertSToF":
      case "ConvertUToF":
      case "UConvert":
      case "SConvert":
        return this.#mapped(`${this.#scalar(result)}(a)`, operands);
      case "Bitcast":
        if (result.kind !== this.#type(this.#typeOf.get(first)!).kind) {
          return `bits_as<${result.text}>(${this.#value(first)})`;
        }
        return this.#mapped(`bits_as<${this.#scalar(result)}>(a)`, operands);
      case "VectorTimesScalar":
        return `scaled(${this.#value(first)}, ${this.#value(second)})`;
      case "Dot":
        return `dot(${this.#value(first)}, ${this.#value(second)})`;
      case "All":
      case "Any":
        return `${op.toLowerCase()}(${this.#value(first)})`;
      case "GroupNonUniformBroadcast":
      case "GroupNonUniformShuffle":
        return this.#mapped(`from_lane(a, ${this.#value(third)})`, [second]);
      case "GroupNonUniformShuffleXor":
        return this.#mapped(`from_other(a, ${this.#value(third)})`, [second]);
      case "GroupNonUniformIAdd":
      case "GroupNonUniformFAdd":
        return this.#mapped("sum_of_lanes(a)", [third]);
      case "GroupNonUniformUMax":
      case "GroupNonUniformFMax":
        return this.#mapped("greatest_of_lanes(a)", [third]);
      default:
        throw new Error(`SPIR-V's ${op} is not translated: add it to tasks/kernels/cuda_source.ts`);
    }
  }

  /** `body` of scalars a, b and c: of the operands themselves, or of their elements. */
  #mapped(body: string, operands: readonly number[]): string {
    const texts = operands.map((id) => this.#value(id));
    if (this.#type(this.#typeOf.get(operands[0])!).kind === "scalar") {
      return `(${body.replaceAll(/\b[abc]\b/g, (name) => texts["abc".indexOf(name)])})`;
    }
    const parameters = texts.map((_, i) => `auto ${"abc"[i]}`).join(", ");
    return `map([&](${parameters}) { return ${body}; }, ${texts.join(", ")})`;
  }

  #scalar(type: Type): string {
    return type.kind === "vector" ? this.#type(type.of).text : type.text;
  }

  #passed(id: number): string {
    return this.#type(this.#typeOf.get(id)!).kind === "pointer" ? `&${this.#place(id)}` : this.#value(id);
  }

  /** A vector may be made of shorter ones. */
  #composite(type: number, operands: readonly number[]): string {
    const own = this.#type(type);
    if (own.kind === "struct") return `${own.text}{${operands.map((id) => this.#value(id)).join(", ")}}`;
    const parts = operands.flatMap((id) => {
      const part = this.#type(this.#typeOf.get(id)!);
      if (own.kind !== "vector" || part.kind !== "vector") return [this.#value(id)];
      return Array.from({ length: part.count }, (_, i) => `${this.#value(id)}[${i}]`);
    });
    return `${own.text}{{${parts.join(", ")}}}`;
  }

  #shuffled(text: string, first: number, second: number, places: readonly number[]): string {
    const own = this.#type(this.#typeOf.get(first)!);
    const count = own.kind === "vector" ? own.count : 0;
    const parts = places.map((at) =>
      at < count ? `${this.#value(first)}[${at}]` : `${this.#value(second)}[${at - count}]`
    );
    return `${text}{{${parts.join(", ")}}}`;
  }
}

function product(values: readonly number[]): number {
  return values.reduce((all, value) => all * value, 1);
}

/** Values and labels in turn, as pairs. */
function pairs(list: readonly number[]): [number, number][] {
  return Array.from({ length: list.length / 2 }, (_, i) => [list[2 * i], list[2 * i + 1]]);
}

/** A 32-bit constant from its bits. */
function constant(type: string, bits: number): string {
  if (type === "f32") return `__uint_as_float(${bits}u)`;
  return type === "i32" ? `i32(${bits}u)` : `${bits}u`;
}
