import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  ERROR_CODES,
  encodeFrame,
  FIELD,
  Fields,
  FRAME,
  FrameDecoder,
  PROTOCOL_HEADER_BYTES,
  PROTOCOL_MAGIC,
  PROTOCOL_MAX_PAYLOAD,
  PROTOCOL_TOKEN_BYTES,
  PROTOCOL_VERSION,
} from '../../src/extensions/local/native/wire.ts';

const header = readFileSync(join(import.meta.dirname, '../../src/extensions/local/agent/protocol.h'), 'utf8');

function constants(prefix: string): Record<string, number> {
  const found = header.matchAll(new RegExp(`^  ${prefix}_([A-Z_]+) = (\\d+),$`, 'gm'));
  return Object.fromEntries(Array.from(found, (match) => [match[1] ?? '', Number(match[2])]));
}

describe('the wire protocol', () => {
  it('has the same numbers in both languages', () => {
    expect(constants('FRAME')).toEqual(FRAME);
    expect(constants('FIELD')).toEqual(FIELD);
    expect(Object.keys(constants('ERROR'))).toEqual(ERROR_CODES.map((code) => code.toUpperCase()));
    expect(Object.values(constants('ERROR'))).toEqual(ERROR_CODES.map((_, index) => index + 1));
    expect(constants('PROTOCOL')).toEqual({
      VERSION: PROTOCOL_VERSION,
      MAGIC_BYTES: PROTOCOL_MAGIC.length,
      HEADER_BYTES: PROTOCOL_HEADER_BYTES,
      MAX_PAYLOAD: PROTOCOL_MAX_PAYLOAD,
      TOKEN_BYTES: PROTOCOL_TOKEN_BYTES,
    });
    expect(header).toContain(`"${PROTOCOL_MAGIC}"`);
  });

  it('gives back what was encoded, however the bytes are cut', () => {
    const frames = fc.array(fc.tuple(fc.integer({ min: 1, max: 255 }), fc.uint8Array({ maxLength: 50 })), {
      maxLength: 6,
    });
    fc.assert(
      fc.property(frames, fc.infiniteStream(fc.integer({ min: 1, max: 20 })), (list, cuts) => {
        const bytes = Buffer.concat(list.map(([type, value]) => encodeFrame(type, [[9, value]])));
        const decoder = new FrameDecoder();
        const received: [number, string][] = [];
        const streamed: Buffer[] = [];
        const handler = {
          streams: (type: number) => type === FRAME.STDOUT,
          piece: (_type: number, data: Buffer) => void streamed.push(Buffer.from(data)),
          frame: (type: number, payload: Buffer) => {
            const whole = type === FRAME.STDOUT ? Buffer.concat(streamed.splice(0)) : payload;
            received.push([type, new Fields(whole).bytes(9)?.toString('hex') ?? 'missing']);
            return true;
          },
        };
        for (let position = 0; position < bytes.length; ) {
          const size = cuts.next().value ?? 1;
          decoder.push(bytes.subarray(position, position + size), handler);
          position += size;
        }
        expect(received).toEqual(list.map(([type, value]) => [type, Buffer.from(value).toString('hex')]));
      }),
    );
  });

  it('refuses frames that are too long, in both directions', () => {
    expect(() => encodeFrame(FRAME.EXEC, [[FIELD.ARGUMENT, 'x'.repeat(PROTOCOL_MAX_PAYLOAD)]])).toThrow(
      RangeError,
    );
    const huge = Buffer.from([FRAME.OK, 255, 255, 255, 255]);
    const handler = { streams: () => false, piece: () => undefined, frame: () => true };
    expect(() => new FrameDecoder().push(huge, handler)).toThrow(RangeError);
  });

  it('reads broken fields as missing', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), fc.integer({ min: 0, max: 255 }), (bytes, tag) => {
        const fields = new Fields(Buffer.from(bytes));
        expect(typeof fields.number(tag)).toBe('number');
        expect(typeof fields.text(tag)).toBe('string');
      }),
    );
  });
});
