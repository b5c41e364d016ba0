import { createPrivateKey, createPublicKey, generateKeyPairSync, sign } from 'node:crypto';
import fc from 'fast-check';
import {
  formatNote,
  maximumSignatures,
  noteSigningBytes,
  openNote,
  parseNote,
} from '../../../src/log/note/note.js';
import { NoteError, noteVerifier, vkeyFor } from '../../../src/log/note/noteKey.js';
import { testKey } from '../noteKeys.js';

/** The keys and notes of the tests of golang.org/x/mod/sumdb/note, where the format comes from. */
const peter = {
  vkey: 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW',
  seed: 'AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz',
  line: '— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n',
};
const enoch = {
  vkey: 'EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop',
  line: '— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n',
};
const text =
  "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";

const peterKey = noteVerifier(peter.vkey);
const enochKey = noteVerifier(enoch.vkey);

describe('signed notes', () => {
  test('the published note opens', () => {
    const opened = openNote(`${text}\n${peter.line}`, [peterKey]);
    expect(opened.text).toBe(text);
    expect(opened.signatures.map(({ name, keyId }) => [name, keyId])).toEqual([['PeterNeumann', 0xc74f20a3]]);
  });

  test('the example of C2SP signed-note is read, with the empty line in its text, and written back', () => {
    const verse =
      'Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned \u00e8 subito sera.\n';
    const line =
      '\u2014 quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n';
    const note = `${verse}\n${line}`;
    const parsed = parseNote(note);
    expect(parsed.text).toBe(verse);
    expect(parsed.claimed).toMatchObject([{ name: 'quasimodo.example/salvatore', keyId: 0x367ba04b }]);
    expect(formatNote(parsed.text, parsed.claimed)).toBe(note);
    // its key is not published: nobody knows whether it holds
    expect(() => openNote(note, [peterKey])).toThrow(NoteError);
  });

  test('signing as published gives the published note, byte for byte', () => {
    const seed = Buffer.from(peter.seed, 'base64').subarray(1);
    const key = createPrivateKey({
      key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed]),
      format: 'der',
      type: 'pkcs8',
    });
    const spkiDer = createPublicKey(key).export({ format: 'der', type: 'spki' });
    expect(vkeyFor({ name: 'PeterNeumann', algorithm: 'Ed25519', spkiDer })).toBe(peter.vkey);
    const signature = sign(undefined, noteSigningBytes(text), key);
    expect(formatNote(text, [{ name: 'PeterNeumann', keyId: 0xc74f20a3, signature }])).toBe(
      `${text}\n${peter.line}`,
    );
  });

  test('a signature by an unknown key is ignored, be it true or not', () => {
    const note = `${text}\n${enoch.line}${peter.line}`;
    expect(openNote(note, [peterKey]).signatures).toHaveLength(1);
    expect(openNote(note, [enochKey, peterKey]).signatures).toHaveLength(2);
    const other = enoch.line.replace('rwz+eBzm', 'rwz+eBzn');
    expect(openNote(`${text}\n${other}${peter.line}`, [peterKey]).signatures).toHaveLength(1);
  });

  // C2SP signed-note asks no more of a line by nobody known, and its own tests (golang.org/x/mod/sumdb/note) have such names
  test.each([
    ['a name with a control character', enoch.line.replace('EnochRoot', 'Enoch\u007fRoot')],
    ['a name with another one', enoch.line.replace('EnochRoot', 'Enoch\u009fRoot')],
    ['base64 with stray bits', peter.line.replace('PeterNeumann', 'Nobody').replace('nAM=', 'nAN=')],
  ])('a line by an unknown key is ignored that has %s', (_what, line) => {
    expect(line).not.toBe(enoch.line);
    expect(openNote(`${text}\n${line}${peter.line}`, [peterKey]).signatures).toHaveLength(1);
  });

  test('base64 with stray bits by a known key refuses the note', () => {
    const stray = peter.line.replace('nAM=', 'nAN=');
    expect(() => openNote(`${text}\n${stray}`, [peterKey])).toThrow('does not hold');
  });

  test('a bad signature by a known key refuses the note, also beside a good one', () => {
    const bad = enoch.line.replace('rwz+eBzm', 'rwz+eBzn');
    expect(() => openNote(`${text}\n${peter.line}${bad}`, [peterKey, enochKey])).toThrow('does not hold');
    expect(() => openNote(`another text\n\n${peter.line}`, [peterKey])).toThrow('does not hold');
  });

  test('a note without a signature by a known key is refused', () => {
    expect(() => openNote(`${text}\n${peter.line}`, [enochKey])).toThrow('no signature by a known key');
    expect(() => openNote(`${text}\n${peter.line}`, [])).toThrow('no signature by a known key');
  });

  test('a known name with another key id, or the key id with another name, is an unknown key', () => {
    const namesake = testKey('PeterNeumann');
    expect(() => openNote(namesake.sign(text), [peterKey])).toThrow('no signature by a known key');
    const renamed = peter.line.replace('PeterNeumann', 'PeterNewman');
    expect(() => openNote(`${text}\n${renamed}`, [peterKey])).toThrow('no signature by a known key');
  });

  test('two verifiers with one name and key id are refused where it matters', () => {
    expect(() => openNote(`${text}\n${enoch.line}`, [enochKey, peterKey, enochKey])).toThrow('two keys');
    expect(() => openNote(`${text}\n${peter.line}`, [enochKey, peterKey, enochKey])).not.toThrow();
  });

  test.each([
    ['no signatures', text],
    ['an empty list of signatures', `${text}\n`],
    ['no final newline', `${text}\n${peter.line.slice(0, -1)}`],
    ['a control character', `\x01${text}\n${peter.line}`],
    ['a carriage return', `${text.replace('\n', '\r\n')}\n${peter.line}`],
    ['a lone surrogate', `\ud800${text}\n${peter.line}`],
    ['a space in a name', `${text}\n${peter.line.replace('PeterNeumann', 'Bad Name')}`],
    ['a wide space in a name', `${text}\n${peter.line.replace('PeterNeumann', 'Bad\u2003Name')}`],
    ['a plus in a name', `${text}\n${peter.line.replace('PeterNeumann', 'Bad+Name')}`],
    ['no name', `${text}\n${peter.line.replace('PeterNeumann', '')}`],
    ['a hyphen for the dash', `${text}\n${peter.line.replace('—', '-')}`],
    ['another line among the signatures', `${text}\n${peter.line}Unexpected line.\n`],
    ['base64 without its padding', `${text}\n${peter.line.replace('=', '')}`],
    ['base64 of another alphabet', `${text}\n${peter.line.replace('/', '_')}`],
    ['a key id and nothing else', `${text}\n— PeterNeumann x08gow==\n`],
    ['too many signatures', `${text}\n${peter.line.repeat(maximumSignatures + 1)}`],
    ['nothing', ''],
  ])('a note with %s is malformed', (_name, note) => {
    expect(() => openNote(note, [peterKey])).toThrow(NoteError);
    expect(() => parseNote(note)).toThrow(NoteError);
  });

  test('the text may have empty lines, and lines that look like signatures', () => {
    const key = testKey('example.com/log');
    for (const odd of ['\n', 'a\n\nb\n', `a\n\n${peter.line}\nb\n`]) {
      expect(openNote(key.sign(odd), [key.verifier]).text).toBe(odd);
    }
  });

  test('at least sixteen signatures are accepted', () => {
    expect(openNote(`${text}\n${enoch.line.repeat(15)}${peter.line}`, [peterKey]).text).toBe(text);
  });

  test.each<[string, () => unknown]>([
    ['a text without its newline', () => noteSigningBytes('a')],
    ['a text with a tab', () => noteSigningBytes('\t\n')],
    ['no signature', () => formatNote(text, [])],
    ['an empty signature', () => formatNote(text, [{ name: 'a', keyId: 1, signature: new Uint8Array(0) }])],
    ['a name with a space', () => formatNote(text, [{ name: 'a b', keyId: 1, signature: Buffer.alloc(64) }])],
  ])('%s is not written', (_name, write) => {
    expect(write).toThrow(NoteError);
  });

  test('any note comes back as it was written, by either algorithm', () => {
    const keys = [testKey('a.example/ed'), testKey('b.example/ec', 'ECDSA-P256')];
    const anyText = fc.string({ unit: 'grapheme' }).map((line) => `${line}\n`);
    fc.assert(
      fc.property(anyText, fc.constantFrom(...keys), (line, key) => {
        expect(openNote(key.sign(line), [key.verifier]).text).toBe(line);
      }),
    );
  });
});

describe('verifier keys', () => {
  test('the published key has its parts', () => {
    expect(peterKey).toMatchObject({ name: 'PeterNeumann', keyId: 0xc74f20a3, algorithm: 'Ed25519' });
  });

  test('no part of a key is a key, and none with a character changed', () => {
    for (let start = 0; start < peter.vkey.length; start += 1) {
      for (let end = start + 1; end <= peter.vkey.length; end += 1) {
        const part = peter.vkey.slice(start, end);
        if (part !== peter.vkey) expect(() => noteVerifier(part)).toThrow(NoteError);
      }
      const next = String.fromCharCode(peter.vkey.charCodeAt(start) + 1);
      const changed = peter.vkey.slice(0, start) + next + peter.vkey.slice(start + 1);
      expect(() => noteVerifier(changed)).toThrow(NoteError);
    }
  });

  test.each([
    [
      'a key of the wrong length',
      'PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==',
    ],
    ['an unknown type', 'PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW'],
    ['a key id in capitals', peter.vkey.replace('c74f20a3', 'C74F20A3')],
    ['nothing', ''],
  ])('%s is refused', (_name, vkey) => {
    expect(() => noteVerifier(vkey)).toThrow(NoteError);
  });

  test('the key of an ECDSA log: that of Rekor, and a checkpoint which it signed', () => {
    const spki =
      'MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE2G2Y+2tabdTV5BcGiBIx0a9fAFwrkBbmLSGtks4L3qX6yYY0zufBnhC8Ur/iy55GhWP/9A/bY2LhC30M9+RYtw==';
    const vkey = vkeyFor({
      name: 'rekor.sigstore.dev',
      algorithm: 'ECDSA-P256',
      spkiDer: Buffer.from(spki, 'base64'),
    });
    expect(vkey).toBe(
      'rekor.sigstore.dev+c0d23d6a+AjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNhtmPtrWm3U1eQXBogSMdGvXwBcK5AW5i0hrZLOC96l+smGNM7nwZ4QvFK/4sueRoVj//QP22Ni4Qt9DPfkWLc=',
    );
    const note =
      'Rekor\n798034\nf+7CoKgXKE/tNys9TTXcr/ad6U/K3xvznmzew9y6SP0=\n\n' +
      '— rekor.sigstore.dev wNI9ajBEAiARInWIWyCdyG27CO6LPnPekyw20qO0YJfoaPaowGp/XgIgc+qEHS3+GKVClgqq20uDLet7MCoTURUCRdxwWBHHufk=\n';
    expect(openNote(note, [noteVerifier(vkey)]).text).toBe(note.slice(0, note.indexOf('\n\n') + 1));
    expect(() => openNote(note.replace('798034', '798035'), [noteVerifier(vkey)])).toThrow('does not hold');
  });

  test('a key is refused as one of another algorithm, on another curve, or in another encoding', () => {
    const ed = testKey('a.example');
    const ec = testKey('a.example', 'ECDSA-P256');
    const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey.export({
      format: 'der',
      type: 'spki',
    });
    const name = 'a.example';
    expect(() => vkeyFor({ name, algorithm: 'ECDSA-P256', spkiDer: ed.spkiDer })).toThrow(NoteError);
    expect(() => vkeyFor({ name, algorithm: 'Ed25519', spkiDer: ec.spkiDer })).toThrow(NoteError);
    expect(() => vkeyFor({ name, algorithm: 'ECDSA-P256', spkiDer: p384 })).toThrow(NoteError);
    const trailing = Buffer.concat([ec.spkiDer, Buffer.from([0])]);
    expect(() => vkeyFor({ name, algorithm: 'ECDSA-P256', spkiDer: trailing })).toThrow(NoteError);
    expect(() => vkeyFor({ name: 'a example', algorithm: 'Ed25519', spkiDer: ed.spkiDer })).toThrow(
      NoteError,
    );
    expect(() => vkeyFor({ name: 'a+b', algorithm: 'Ed25519', spkiDer: ed.spkiDer })).toThrow(NoteError);
  });

  test('a signature of the wrong form is just false', () => {
    const ec = testKey('a.example', 'ECDSA-P256').verifier;
    for (const signature of [new Uint8Array(0), Buffer.alloc(64), Buffer.alloc(63, 1)]) {
      expect(peterKey.verify(Buffer.from(text), signature)).toBe(false);
      expect(ec.verify(Buffer.from(text), signature)).toBe(false);
    }
  });
});
