/** Reads SPIR-V as naga writes it: one entry point, logical addressing, 32-bit numbers, and integers of 8. */

/** An instruction, with the ids and literals that follow its result as they are. */
export interface Instruction {
  /** The op's name without `Op`, such as `FAdd`. */
  readonly op: string;
  /** The id of its result's type; 0 if it has none. */
  readonly type: number;
  /** The id of its result; 0 if it has none. */
  readonly result: number;
  readonly operands: readonly number[];
}

/** How an instruction begins: with its result's type and id, with its result's id, or with its operands. */
type Form = "typed" | "named" | "bare";

const names: Readonly<Record<Form, Readonly<Record<number, string>>>> = {
  typed: {
    ...{ 1: "Undef", 12: "ExtInst", 41: "ConstantTrue", 42: "ConstantFalse", 43: "Constant" },
    ...{ 44: "ConstantComposite", 46: "ConstantNull", 54: "Function", 55: "FunctionParameter" },
    ...{ 57: "FunctionCall", 59: "Variable", 61: "Load", 65: "AccessChain", 77: "VectorExtractDynamic" },
    ...{ 79: "VectorShuffle", 80: "CompositeConstruct", 81: "CompositeExtract" },
    ...{ 109: "ConvertFToU", 110: "ConvertFToS", 111: "ConvertSToF", 112: "ConvertUToF" },
    ...{ 113: "UConvert", 114: "SConvert", 124: "Bitcast" },
    ...{ 126: "SNegate", 127: "FNegate", 128: "IAdd", 129: "FAdd", 130: "ISub", 131: "FSub", 132: "IMul" },
    ...{ 133: "FMul", 134: "UDiv", 135: "SDiv", 136: "FDiv", 137: "UMod", 138: "SRem", 140: "FRem" },
    ...{ 142: "VectorTimesScalar", 148: "Dot", 154: "Any", 155: "All", 164: "LogicalEqual" },
    ...{ 165: "LogicalNotEqual", 166: "LogicalOr", 167: "LogicalAnd", 168: "LogicalNot", 169: "Select" },
    ...{
      170: "IEqual",
      171: "INotEqual",
      172: "UGreaterThan",
      173: "SGreaterThan",
      174: "UGreaterThanEqual",
    },
    ...{ 175: "SGreaterThanEqual", 176: "ULessThan", 177: "SLessThan", 178: "ULessThanEqual" },
    ...{ 179: "SLessThanEqual", 180: "FOrdEqual", 182: "FOrdNotEqual", 183: "FUnordNotEqual" },
    ...{ 184: "FOrdLessThan", 186: "FOrdGreaterThan", 188: "FOrdLessThanEqual", 190: "FOrdGreaterThanEqual" },
    ...{ 194: "ShiftRightLogical", 195: "ShiftRightArithmetic", 196: "ShiftLeftLogical", 197: "BitwiseOr" },
    ...{ 198: "BitwiseXor", 199: "BitwiseAnd", 200: "Not", 202: "BitFieldSExtract", 203: "BitFieldUExtract" },
    ...{ 245: "Phi", 337: "GroupNonUniformBroadcast", 345: "GroupNonUniformShuffle" },
    ...{ 346: "GroupNonUniformShuffleXor", 349: "GroupNonUniformIAdd", 350: "GroupNonUniformFAdd" },
    ...{ 357: "GroupNonUniformUMax", 358: "GroupNonUniformFMax" },
  },
  named: {
    ...{ 11: "ExtInstImport", 19: "TypeVoid", 20: "TypeBool", 21: "TypeInt", 22: "TypeFloat" },
    ...{ 23: "TypeVector", 28: "TypeArray", 29: "TypeRuntimeArray", 30: "TypeStruct", 32: "TypePointer" },
    ...{ 33: "TypeFunction", 248: "Label" },
  },
  bare: {
    ...{ 10: "Extension", 14: "MemoryModel", 15: "EntryPoint", 16: "ExecutionMode", 17: "Capability" },
    ...{ 56: "FunctionEnd", 62: "Store", 71: "Decorate", 72: "MemberDecorate", 224: "ControlBarrier" },
    ...{ 225: "MemoryBarrier", 246: "LoopMerge", 247: "SelectionMerge", 249: "Branch" },
    ...{ 250: "BranchConditional", 251: "Switch", 253: "Return", 254: "ReturnValue", 255: "Unreachable" },
  },
};

const magic = 0x07230203;
const headerWords = 5;

/**
 * The instructions of a module.
 * @throws Error when the bytes are no SPIR-V, or name an op that is not known here.
 */
export function readSpirv(bytes: Uint8Array): Instruction[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const words = Array.from({ length: bytes.length >> 2 }, (_, i) => view.getUint32(4 * i, true));
  if (words[0] !== magic || bytes.length % 4 !== 0) throw new Error("these bytes are no SPIR-V");
  const instructions: Instruction[] = [];
  for (let at = headerWords; at < words.length;) {
    const length = words[at] >>> 16;
    if (length === 0 || at + length > words.length) throw new Error("this SPIR-V is cut short");
    instructions.push(instructionOf(words[at] & 0xffff, words.slice(at + 1, at + length)));
    at += length;
  }
  return instructions;
}

function instructionOf(code: number, [first, second, ...rest]: readonly number[]): Instruction {
  const { typed, named, bare } = names;
  if (code in typed) return { op: typed[code], type: first, result: second, operands: rest };
  const operands = [first, second, ...rest].filter((word) => word !== undefined);
  if (code in named) return { op: named[code], type: 0, result: first, operands: operands.slice(1) };
  if (code in bare) return { op: bare[code], type: 0, result: 0, operands };
  throw new Error(`SPIR-V's op ${code} is not known here: add it to tasks/kernels/spirv_module.ts`);
}
