/** A Compose file as a tree with lines: aliases and merge keys resolved here, so that nobody resolves them differently. */
import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parseDocument,
  type Scalar,
  type YAMLMap,
} from 'yaml';
import { printable } from '../../domain/text.ts';
import { ExtensionError } from '../../ports/extension.ts';

const FILE_BYTES_MAX = 256 * 1024;
const DEPTH_MAX = 20;
const ALIASES_MAX = 100;
/** After aliases were resolved; what a small file can blow itself up to. */
const NODES_MAX = 20_000;
const KEY_LENGTH_MAX = 256;
const FORBIDDEN_KEYS = ['__proto__', 'constructor', 'prototype'];

export interface Entry {
  /** Of the key. */
  readonly line: number;
  readonly node: TreeNode;
}

export type TreeNode =
  | { readonly kind: 'map'; readonly line: number; readonly entries: ReadonlyMap<string, Entry> }
  | { readonly kind: 'list'; readonly line: number; readonly items: readonly TreeNode[] }
  | { readonly kind: 'scalar'; readonly line: number; readonly value: string | number | boolean | null };

export function refuseAt(file: string, line: number, sentence: string): never {
  throw new ExtensionError('invalid', `${printable(file, 200)}:${line}: ${printable(sentence, 500)}`);
}

class TreeBuilder {
  readonly #file: string;
  readonly #document: Document;
  readonly #lines: LineCounter;
  #nodes = 0;
  #aliases = 0;

  constructor(file: string, document: Document, lines: LineCounter) {
    this.#file = file;
    this.#document = document;
    this.#lines = lines;
  }

  build(node: unknown, depth: number): TreeNode {
    const line = this.#line(node);
    this.#nodes += 1;
    if (this.#nodes > NODES_MAX)
      refuseAt(this.#file, line, 'The file is too large once its aliases are resolved.');
    if (depth > DEPTH_MAX)
      refuseAt(this.#file, line, `Nothing may be nested deeper than ${DEPTH_MAX} levels.`);
    if (node === null) return { kind: 'scalar', line, value: null };
    if (isAlias(node)) return this.build(this.#target(node), depth);
    if ((node as Node).tag !== undefined)
      refuseAt(this.#file, line, 'Tags (`!…`) are not supported; write the value itself.');
    if (isScalar(node)) return { kind: 'scalar', line, value: this.#scalar(node, line) };
    if (isSeq(node))
      return { kind: 'list', line, items: node.items.map((item) => this.build(item, depth + 1)) };
    if (isMap(node)) return { kind: 'map', line, entries: this.#entries(node, depth) };
    return refuseAt(this.#file, line, 'This is no value of a Compose file.');
  }

  /** An alias counts each time it is met, also inside what another one stands for. */
  #target(alias: Extract<Node, { source: string }> | Node): unknown {
    this.#aliases += 1;
    const line = this.#line(alias);
    if (this.#aliases > ALIASES_MAX) refuseAt(this.#file, line, `More than ${ALIASES_MAX} aliases are used.`);
    const target = isAlias(alias) ? alias.resolve(this.#document) : undefined;
    if (target === undefined) refuseAt(this.#file, line, 'The alias stands for nothing.');
    return target;
  }

  /** Octal as YAML 1.1 and every Compose read it; numbers that lose digits are refused. */
  #scalar(node: Scalar, line: number): string | number | boolean | null {
    const { value, source, type } = node;
    if (value === null || typeof value === 'string' || typeof value === 'boolean') return value;
    if (
      typeof value !== 'number' ||
      !Number.isFinite(value) ||
      (Number.isInteger(value) && !Number.isSafeInteger(value))
    )
      return refuseAt(this.#file, line, `The value ${String(source)} must be written in quotes.`);
    return type === 'PLAIN' && /^0[0-7]+$/.test(source ?? '') ? Number.parseInt(source!, 8) : value;
  }

  /** Keys of the map itself win over merged ones, and the earlier of merged maps over the later. */
  #entries(map: YAMLMap, depth: number): Map<string, Entry> {
    const entries = new Map<string, Entry>();
    const merged: unknown[] = [];
    for (const pair of map.items) {
      const { name, line } = this.#key(pair);
      if (name === '<<') merged.push(...this.#mergeSources(pair.value));
      else entries.set(name, { line, node: this.build(pair.value, depth + 1) });
    }
    for (const source of merged) {
      const node = this.build(source, depth);
      if (node.kind !== 'map') refuseAt(this.#file, node.line, '`<<` merges mappings only.');
      for (const [name, entry] of node.entries) if (!entries.has(name)) entries.set(name, entry);
    }
    return entries;
  }

  #mergeSources(value: unknown): unknown[] {
    const source = isAlias(value) ? this.#target(value) : value;
    return isSeq(source) ? source.items : [source];
  }

  #key(pair: Pair): { name: string; line: number } {
    const { key } = pair;
    const line = this.#line(key);
    if (!isScalar(key) || typeof key.value !== 'string')
      return refuseAt(this.#file, line, 'A key must be text; put it in quotes.');
    if (key.tag !== undefined)
      refuseAt(this.#file, line, 'Tags (`!…`) are not supported; write the value itself.');
    if (FORBIDDEN_KEYS.includes(key.value))
      refuseAt(this.#file, line, `The key ${key.value} is not allowed.`);
    if (key.value.length > KEY_LENGTH_MAX) refuseAt(this.#file, line, 'A key is too long.');
    return { name: key.value, line };
  }

  #line(node: unknown): number {
    const range = (node as { range?: [number, number, number] | null } | null)?.range;
    return range == null ? 1 : this.#lines.linePos(range[0]).line;
  }
}

/** Bounded before it is parsed. Throws `invalid` with file and line for anything that is not plain YAML. */
export function readTree(text: string, file: string): TreeNode {
  if (Buffer.byteLength(text) > FILE_BYTES_MAX)
    refuseAt(file, 1, `The file is larger than ${FILE_BYTES_MAX / 1024} KiB.`);
  const lines = new LineCounter();
  const document = parseDocument(text, {
    lineCounter: lines,
    uniqueKeys: true,
    prettyErrors: false,
    merge: false,
    resolveKnownTags: false,
  });
  const error = document.errors[0];
  if (error !== undefined) refuseAt(file, lines.linePos(error.pos[0]).line, error.message);
  return new TreeBuilder(file, document, lines).build(document.contents, 0);
}
