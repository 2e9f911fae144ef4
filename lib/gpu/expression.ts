/** Integer expressions of the WGSL templates: precedence climbing over a handful of operators. */

const precedence: Readonly<Record<string, number>> = {
  "||": 1,
  "&&": 2,
  "==": 3,
  "!=": 3,
  "<": 4,
  "<=": 4,
  ">": 4,
  ">=": 4,
  "+": 5,
  "-": 5,
  "*": 6,
  "/": 6,
  "%": 6,
};

const apply: Readonly<Record<string, (a: number, b: number) => number>> = {
  "||": (a, b) => Number(a !== 0 || b !== 0),
  "&&": (a, b) => Number(a !== 0 && b !== 0),
  "==": (a, b) => Number(a === b),
  "!=": (a, b) => Number(a !== b),
  "<": (a, b) => Number(a < b),
  "<=": (a, b) => Number(a <= b),
  ">": (a, b) => Number(a > b),
  ">=": (a, b) => Number(a >= b),
  "+": (a, b) => a + b,
  "-": (a, b) => a - b,
  "*": (a, b) => a * b,
  "/": (a, b) => Math.floor(a / b),
  "%": (a, b) => a % b,
};

/**
 * The value of `text`, whose names are looked up in `names`.
 * @throws Error for an unknown name or a malformed expression.
 */
export function evaluateExpression(text: string, names: Readonly<Record<string, number>>): number {
  const tokens = text.match(/\d+|\w+|==|!=|<=|>=|&&|\|\||[-+*/%<>!()]|\S/g) ?? [];
  let at = 0;

  function operand(): number {
    const token = tokens[at++];
    if (token === undefined) throw new Error(`"${text}" ends too early`);
    if (token === "(") {
      const value = expression(0);
      if (tokens[at++] !== ")") throw new Error(`missing ) in "${text}"`);
      return value;
    }
    if (token === "!") return Number(operand() === 0);
    if (/^\d+$/.test(token)) return Number(token);
    if (!Object.hasOwn(names, token)) {
      throw new Error(
        `unknown name "${token}" in "${text}"; defined are ${Object.keys(names).join(", ") || "none"}`,
      );
    }
    return names[token];
  }

  function expression(floor: number): number {
    let left = operand();
    for (;;) {
      const level = precedence[tokens[at]];
      if (level === undefined || level <= floor) return left;
      const operator = tokens[at++];
      left = apply[operator](left, expression(level));
    }
  }

  const value = expression(0);
  if (at < tokens.length) throw new Error(`unexpected "${tokens[at]}" in "${text}"`);
  return value;
}
