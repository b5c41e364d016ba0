import type { Answer } from './call.js';
import { CALLS, FIRST_CALL } from './calls.js';
import type { Caller } from './caller.js';
import { MalformedMessage } from './malformed.js';
import { MessageReader } from './messageReader.js';
import { MessageWriter } from './messageWriter.js';
import { CKR, Pkcs11Error } from './numbers.js';

/** The number of an answer that is an error. */
const ERROR = 0;

/**
 * The body of the answer to the body of a call: at once, or when the use of a key is over. Calls that are not there are answered
 * CKR_FUNCTION_NOT_SUPPORTED, whatever their arguments.
 * @throws MalformedMessage, and nothing else
 */
export function answerTo(caller: Caller, body: Buffer): Buffer | Promise<Buffer> {
  const take = new MessageReader(body);
  const number = take.uint32();
  const signature = take.bytesOrNull();
  if (number === ERROR || signature === undefined) throw new MalformedMessage('a message is no call');
  const call = CALLS.get(number);
  if (call === undefined) return errorBody(CKR.FUNCTION_NOT_SUPPORTED);
  if (signature.toString('latin1') !== call.takes)
    throw new MalformedMessage(`${call.name} has other arguments`);
  const reply = (answer: Answer): Buffer => {
    const writer = new MessageWriter().uint32(number).bytesOrNull(Buffer.from(call.gives));
    answer(writer);
    return writer.toBuffer();
  };
  try {
    if (!caller.isInitialized && number !== FIRST_CALL) return errorBody(CKR.CRYPTOKI_NOT_INITIALIZED);
    const answer = call.run(caller, take);
    return answer instanceof Promise
      ? answer.then(reply).catch((error: unknown) => failed(caller, call.name, error))
      : reply(answer);
  } catch (error) {
    return failed(caller, call.name, error);
  }
}

function failed(caller: Caller, name: string, error: unknown): Buffer {
  if (error instanceof MalformedMessage) throw error;
  if (error instanceof Pkcs11Error) return errorBody(error.code);
  caller.parts.tell({
    ...{ event: 'refused', code: 'agent-failed' },
    sentence: `The agent failed in ${name} for ${caller.name}: ${error instanceof Error ? error.message : 'no error'}`,
  });
  return errorBody(CKR.GENERAL_ERROR);
}

function errorBody(code: number): Buffer {
  return new MessageWriter().uint32(ERROR).bytesOrNull(Buffer.from('u')).ulong(code).toBuffer();
}
