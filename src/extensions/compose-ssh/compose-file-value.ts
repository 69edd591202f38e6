/** A value of a Compose file with its place: every reading of it is checked, every refusal names file, line and service. */
import { inWords } from '../../domain/text.ts';
import { type Entry, refuseAt, type TreeNode } from './compose-file-tree.ts';

export type Variables = Readonly<Record<string, string>>;
export type Plain = string | number | boolean | null | Plain[] | { [key: string]: Plain };

export interface FileContext {
  readonly file: string;
  readonly allowed: ReadonlySet<string>;
  readonly variables: Variables;
}

/** `$$`, `$NAME`, `${NAME}` with `:-` `-` `:?` `?` `:+` `+`; a `$` that begins none of these has no group. */
const VARIABLE = /\$(?:(\$)|([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)(?:(:?[-?+])([^${}]*))?\})?/g;

export class Value {
  readonly name: string;
  readonly #context: FileContext;
  readonly #subject: string;
  readonly #node: TreeNode;
  /** Of the key that leads here, where there is one. */
  readonly #keyLine: number;

  constructor(context: FileContext, subject: string, name: string, node: TreeNode, keyLine = node.line) {
    this.#context = context;
    this.#subject = subject;
    this.name = name;
    this.#node = node;
    this.#keyLine = keyLine;
  }

  get context(): FileContext {
    return this.#context;
  }

  get isMap(): boolean {
    return this.#node.kind === 'map';
  }

  get isList(): boolean {
    return this.#node.kind === 'list';
  }

  get isNull(): boolean {
    return this.#node.kind === 'scalar' && this.#node.value === null;
  }

  refuse(sentence: string): never {
    return refuseAt(this.#context.file, this.#keyLine, `${this.#subject}${sentence}`);
  }

  /** The same place with names that begin here, spoken of as `subject`. */
  under(subject: string): Value {
    return new Value(this.#context, `${subject}: `, '', this.#node, this.#keyLine);
  }

  entries(): Map<string, Value> {
    if (this.#node.kind !== 'map')
      return this.refuse(`${this.name === '' ? 'this' : `\`${this.name}\``} must be a mapping.`);
    const of = ([key, { node, line }]: [string, Entry]): [string, Value] => [
      key,
      new Value(this.#context, this.#subject, this.name === '' ? key : `${this.name}.${key}`, node, line),
    ];
    return new Map([...this.#node.entries].map(of));
  }

  /** The entries of a mapping that has no others than these. */
  fields(known: readonly string[]): Map<string, Value> {
    const entries = this.entries();
    for (const [key, value] of entries) {
      if (!known.includes(key))
        value.refuse(`\`${value.name}\` is not supported; \`${this.name}\` may have ${inWords(known)}.`);
    }
    return entries;
  }

  items(): Value[] {
    if (this.#node.kind !== 'list') return this.refuse(`\`${this.name}\` must be a list.`);
    return this.#node.items.map((item) => new Value(this.#context, this.#subject, this.name, item));
  }

  oneOrMore(): Value[] {
    return this.isList ? this.items() : [this];
  }

  /** Text after its variables were filled in; numbers and booleans as Compose writes them. */
  text(): string {
    if (this.#node.kind !== 'scalar' || this.#node.value === null)
      return this.refuse(`\`${this.name}\` must be text.`);
    const { value } = this.#node;
    return typeof value === 'string' ? this.#filled(value) : String(value);
  }

  number(): number {
    const text = this.text();
    const number = Number(text);
    if (text.trim() === '' || !Number.isFinite(number) || number < 0)
      this.refuse(`\`${this.name}\` must be a number.`);
    return number;
  }

  integer(minimum: number, maximum: number): number {
    const number = this.number();
    if (!Number.isInteger(number) || number < minimum || number > maximum)
      this.refuse(`\`${this.name}\` must be a whole number from ${minimum} to ${maximum}.`);
    return number;
  }

  boolean(): boolean {
    const text = this.text();
    if (text !== 'true' && text !== 'false') this.refuse(`\`${this.name}\` must be true or false.`);
    return text === 'true';
  }

  matching(pattern: RegExp, sentence: string): string {
    const text = this.text();
    if (!pattern.test(text)) this.refuse(`\`${this.name}\`: ${sentence}`);
    return text;
  }

  oneOf(words: readonly string[]): string {
    const text = this.text();
    if (!words.includes(text)) this.refuse(`\`${this.name}\` may be ${inWords(words, 'or')}.`);
    return text;
  }

  /** As it is, variables filled in; for what was granted as a whole. */
  plain(): Plain {
    if (this.#node.kind === 'list') return this.items().map((item) => item.plain());
    if (this.#node.kind === 'map')
      return Object.fromEntries([...this.entries()].map(([key, value]) => [key, value.plain()]));
    return typeof this.#node.value === 'string' ? this.#filled(this.#node.value) : this.#node.value;
  }

  #filled(text: string): string {
    const { variables } = this.#context;
    return text.replaceAll(VARIABLE, (whole, escaped, plain, braced, operator, operand) => {
      if (escaped !== undefined) return '$';
      const name: string | undefined = plain ?? braced;
      if (name === undefined)
        return this.refuse(
          `\`${this.name}\` holds a \`$\` that begins no variable; write \`$$\` for the character.`,
        );
      const value = Object.hasOwn(variables, name) ? variables[name]! : null;
      const isSet = value !== null && (operator?.startsWith(':') !== true || value !== '');
      if (operator?.endsWith('+')) return isSet ? operand : '';
      if (isSet) return value;
      if (operator?.endsWith('-')) return operand;
      return this.refuse(
        `\`${this.name}\` uses the variable ${name}, which has no value; give it one, or write \${${name}:-default} (${whole}).`,
      );
    });
  }
}
