// Requests on whose length two servers could disagree, each with another one behind it: what a proxy passes on and what
// the server behind it reads must be the same requests.
import { raw, type Case } from './requests.js';

const POST = 'POST /first HTTP/1.1\r\nHost: localhost\r\n';
const GET = 'GET /first HTTP/1.1\r\nHost: localhost\r\n';
const NEXT = 'GET /second HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n';
const CHUNKED = 'Transfer-Encoding: chunked\r\n';
const FIVE = 'Content-Length: 5\r\n';

const lengths: Record<string, string> = {
  'length and chunks': `${FIVE}${CHUNKED}`,
  'chunks and length': `${CHUNKED}${FIVE}`,
  'two equal lengths': `${FIVE}${FIVE}`,
  'two lengths': `${FIVE}Content-Length: 6\r\n`,
  'a list of lengths': 'Content-Length: 5, 5\r\n',
  'a signed length': 'Content-Length: +5\r\n',
  'a negative length': 'Content-Length: -5\r\n',
  'a hexadecimal length': 'Content-Length: 0x5\r\n',
  'an octal length': 'Content-Length: 05\r\n',
  'a length with a fraction': 'Content-Length: 5.0\r\n',
  'a length with a space inside': 'Content-Length: 1 0\r\n',
  'a length with a space behind': 'Content-Length: 5 \r\n',
  'a length with tabs': 'Content-Length:\t5\t\r\n',
  'no length': 'Content-Length: \r\n',
  'a length beyond 64 bits': 'Content-Length: 18446744073709551621\r\n',
  'a length beyond 63 bits': 'Content-Length: 9223372036854775808\r\n',
  'a space before the colon of a length': 'Content-Length : 5\r\n',
  'a tab before the colon of a length': 'Content-Length\t: 5\r\n',
  'a folded length': 'Content-Length:\r\n 5\r\n',
  'a length after a fold': 'X-A: b\r\n Content-Length: 5\r\n',
  'a length after a bare line feed': 'X-A: b\nContent-Length: 5\r\n',
  'a length after a bare carriage return': 'X-A: b\rContent-Length: 5\r\n',
  'a length with an underscore': 'Content_Length: 5\r\n',
  'a length with a zero byte': 'Content-Length: 5\0\r\n',
  'a length with a vertical tab': 'Content-Length: \x0b5\r\n',
  'a length with a byte above 127': 'Content-Length: \xa05\r\n',
};

const codings: Record<string, string> = {
  chunked: 'Transfer-Encoding: chunked\r\n',
  'upper case': 'TRANSFER-ENCODING: CHUNKED\r\n',
  'spaces around': 'Transfer-Encoding:   chunked  \r\n',
  'a tab before': 'Transfer-Encoding:\tchunked\r\n',
  'a space before the colon': 'Transfer-Encoding : chunked\r\n',
  'a tab before the colon': 'Transfer-Encoding\t: chunked\r\n',
  'a space before the name': ' Transfer-Encoding: chunked\r\n',
  'no space': 'Transfer-Encoding:chunked\r\n',
  twice: `${CHUNKED}${CHUNKED}`,
  'chunked and identity': `${CHUNKED}Transfer-Encoding: identity\r\n`,
  'identity and chunked': `Transfer-Encoding: identity\r\n${CHUNKED}`,
  'a list': 'Transfer-Encoding: chunked, identity\r\n',
  'a list that ends with it': 'Transfer-Encoding: gzip, chunked\r\n',
  'a comma behind': 'Transfer-Encoding: chunked,\r\n',
  'a comma before': 'Transfer-Encoding: ,chunked\r\n',
  quoted: 'Transfer-Encoding: "chunked"\r\n',
  'a parameter': 'Transfer-Encoding: chunked;a=b\r\n',
  'a prefix': 'Transfer-Encoding: xchunked\r\n',
  'a suffix': 'Transfer-Encoding: chunkedx\r\n',
  empty: 'Transfer-Encoding:\r\n',
  identity: 'Transfer-Encoding: identity\r\n',
  'a vertical tab': 'Transfer-Encoding: \x0bchunked\r\n',
  'a zero byte': 'Transfer-Encoding: chunked\0\r\n',
  'a fold': 'Transfer-Encoding:\r\n chunked\r\n',
  'a fold behind': 'Transfer-Encoding: chunked\r\n x\r\n',
  'a bare line feed': 'X-A: b\nTransfer-Encoding: chunked\r\n',
  'a bare carriage return': 'X-A: b\rTransfer-Encoding: chunked\r\n',
  'an underscore': 'Transfer_Encoding: chunked\r\n',
};

const chunks: Record<string, string> = {
  plain: '5\r\nhello\r\n0\r\n\r\n',
  'an extension': '5;a=b\r\nhello\r\n0\r\n\r\n',
  'an extension without a value': '5;a\r\nhello\r\n0\r\n\r\n',
  'a quoted extension': '5;a="b;c"\r\nhello\r\n0\r\n\r\n',
  'a line feed in a quoted extension': '5;a="\n"\r\nhello\r\n0\r\n\r\n',
  'a space before the extension': '5 ;a=b\r\nhello\r\n0\r\n\r\n',
  'a space behind the size': '5 \r\nhello\r\n0\r\n\r\n',
  'a tab behind the size': '5\t\r\nhello\r\n0\r\n\r\n',
  'a space before the size': ' 5\r\nhello\r\n0\r\n\r\n',
  'a word behind the size': '5 x\r\nhello\r\n0\r\n\r\n',
  'an extension of the last chunk': '5\r\nhello\r\n0;a=b\r\n\r\n',
  'line feeds': '5\nhello\n0\n\n',
  'a line feed behind the size': '5\nhello\r\n0\r\n\r\n',
  'a line feed behind the bytes': '5\r\nhello\n0\r\n\r\n',
  'a line feed at the end': '5\r\nhello\r\n0\r\n\n',
  'a carriage return behind the size': '5\rhello\r\n0\r\n\r\n',
  'two carriage returns': '5\r\r\nhello\r\n0\r\n\r\n',
  'nothing behind the bytes': '5\r\nhello0\r\n\r\n',
  'more bytes than the size': '5\r\nhello!\r\n0\r\n\r\n',
  'fewer bytes than the size': '6\r\nhello\r\n0\r\n\r\n',
  'zeros before the size': '0005\r\nhello\r\n000\r\n\r\n',
  'a hexadecimal prefix': '0x5\r\nhello\r\n0\r\n\r\n',
  'a sign': '+5\r\nhello\r\n0\r\n\r\n',
  'a negative size': '-5\r\nhello\r\n0\r\n\r\n',
  'no size': '\r\nhello\r\n0\r\n\r\n',
  'a size beyond 64 bits': '10000000000000005\r\nhello\r\n0\r\n\r\n',
  'a size beyond 63 bits': 'fffffffffffffffe\r\nhello\r\n0\r\n\r\n',
  'upper case': '0A\r\nhellohello\r\n0\r\n\r\n',
  'a letter that is none': 'g\r\nhello\r\n0\r\n\r\n',
  'a trailer': '5\r\nhello\r\n0\r\nX-A: b\r\n\r\n',
  'a length as trailer': '5\r\nhello\r\n0\r\nContent-Length: 50\r\n\r\n',
  'a trailer without a colon': '5\r\nhello\r\n0\r\nX-A\r\n\r\n',
  'a request line as trailer': '5\r\nhello\r\n0\r\nGET /third HTTP/1.1\r\n\r\n',
  'a trailer with line feeds': '5\r\nhello\r\n0\r\nX-A: b\n\n',
  'no end behind the last chunk': '5\r\nhello\r\n0\r\n',
};

const lines: Record<string, string> = {
  'two spaces in the line': 'GET  /first HTTP/1.1\r\nHost: localhost\r\n\r\n',
  'a tab in the line': 'GET\t/first\tHTTP/1.1\r\nHost: localhost\r\n\r\n',
  'a space behind the version': 'GET /first HTTP/1.1 \r\nHost: localhost\r\n\r\n',
  'a space before the method': ' GET /first HTTP/1.1\r\nHost: localhost\r\n\r\n',
  'empty lines before': '\r\n\r\nGET /first HTTP/1.1\r\nHost: localhost\r\n\r\n',
  'line feeds before': '\n\nGET /first HTTP/1.1\r\nHost: localhost\r\n\r\n',
  'line feeds only': 'GET /first HTTP/1.1\nHost: localhost\n\n',
  'a carriage return in the line': 'GET /first\r HTTP/1.1\r\nHost: localhost\r\n\r\n',
  'two carriage returns': 'GET /first HTTP/1.1\r\r\nHost: localhost\r\n\r\n',
  'a version beyond': 'GET /first HTTP/1.2\r\nHost: localhost\r\n\r\n',
  'version 2.0': 'GET /first HTTP/2.0\r\nHost: localhost\r\n\r\n',
  'a long version': 'GET /first HTTP/1.10\r\nHost: localhost\r\n\r\n',
  'version 1': 'GET /first HTTP/1\r\nHost: localhost\r\n\r\n',
  'a lower-case version': 'GET /first http/1.1\r\nHost: localhost\r\n\r\n',
  'no version': 'GET /first\r\n',
  'a zero byte in the target': 'GET /fi\0rst HTTP/1.1\r\nHost: localhost\r\n\r\n',
  'no host': 'GET /first HTTP/1.1\r\n\r\n',
  'two hosts': 'GET /first HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n',
  'two other hosts': 'GET /first HTTP/1.1\r\nHost: localhost\r\nHost: other\r\n\r\n',
  'an empty host': 'GET /first HTTP/1.1\r\nHost:\r\n\r\n',
  'a host with a space': 'GET /first HTTP/1.1\r\nHost: a b\r\n\r\n',
  'a host with a slash': 'GET /first HTTP/1.1\r\nHost: a/b\r\n\r\n',
  'a host with an at sign': 'GET /first HTTP/1.1\r\nHost: a@b\r\n\r\n',
  'a host with a comma': 'GET /first HTTP/1.1\r\nHost: a,b\r\n\r\n',
  'a host with a bad port': 'GET /first HTTP/1.1\r\nHost: a:x\r\n\r\n',
  'a host in brackets': 'GET /first HTTP/1.1\r\nHost: [::1]:80\r\n\r\n',
  'a space before the colon of the host': 'GET /first HTTP/1.1\r\nHost : localhost\r\n\r\n',
  'a host in the target and another': 'GET http://a/first HTTP/1.1\r\nHost: b\r\n\r\n',
  'a name of nothing': 'GET /first HTTP/1.1\r\nHost: localhost\r\n: b\r\n\r\n',
  'a line without a colon': 'GET /first HTTP/1.1\r\nHost: localhost\r\nX-A\r\n\r\n',
  'a first header that is folded': 'GET /first HTTP/1.1\r\n X-A: b\r\nHost: localhost\r\n\r\n',
  'a zero byte in a name': 'GET /first HTTP/1.1\r\nHost: localhost\r\nX\0A: b\r\n\r\n',
  'a bare carriage return at the end': 'GET /first HTTP/1.1\r\nHost: localhost\r\n\r',
};

const chunked = '5\r\nhello\r\n0\r\n\r\n';

/** Version 1.0 and persistent connections: who ends the body? */
const old: Record<string, string> = {
  'chunks in 1.0': `POST /first HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n${CHUNKED}\r\n${chunked}`,
  'a length in 1.0':
    'POST /first HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello',
  'length and chunks in 1.0': `POST /first HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n${FIVE}${CHUNKED}\r\n${chunked}`,
  'a body of GET': `${GET}${FIVE}\r\nhello`,
  'chunks of GET': `${GET}${CHUNKED}\r\n${chunked}`,
  'a body of HEAD': `HEAD /first HTTP/1.1\r\nHost: localhost\r\n${FIVE}\r\nhello`,
  'a body that is not read': `POST /unread HTTP/1.1\r\nHost: localhost\r\n${FIVE}\r\nhello`,
  'chunks that are not read': `POST /unread HTTP/1.1\r\nHost: localhost\r\n${CHUNKED}\r\n${chunked}`,
  'bad chunks that are not read': `POST /unread HTTP/1.1\r\nHost: localhost\r\n${CHUNKED}\r\nx\r\n`,
  'a body of Upgrade': `${POST}Connection: upgrade\r\nUpgrade: x\r\n${FIVE}\r\nhello`,
  'a body that is announced': `${POST}Expect: 100-continue\r\n${FIVE}\r\nhello`,
};

const cases = (
  what: string,
  list: Record<string, string>,
  bytes: (text: string) => string,
): Case[] =>
  Object.entries(list).map(([name, text]) =>
    raw(
      `${what}: ${name}`,
      bytes(text) + NEXT,
      text.startsWith('HEAD') ? 'HEAD' : 'POST',
      'GET',
      'GET',
    ),
  );

export const smuggling: readonly Case[] = [
  ...cases('length', lengths, (header) => `${POST}${header}\r\nhello`),
  ...cases('length, chunks', lengths, (header) => `${POST}${header}${CHUNKED}\r\n${chunked}`),
  ...cases('coding', codings, (header) => `${POST}${header}\r\n${chunked}`),
  ...cases('coding, length', codings, (header) => `${POST}${header}${FIVE}\r\n${chunked}`),
  ...cases('chunks', chunks, (body) => `${POST}${CHUNKED}\r\n${body}`),
  ...cases('chunks in two', chunks, (body) => `${POST}${CHUNKED}\r\n5\r\nhello\r\n${body}`),
  ...cases('line', lines, (text) => text),
  ...cases('end', old, (text) => text),
];
