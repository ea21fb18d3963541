import type { Conf } from './conf.js';
import { parseUrl } from './inet.js';
import type { SyslogServer } from './plan.js';

const FACILITIES =
  `kern user mail daemon auth intern lpr news uucp clock authpriv ftp ntp audit alert cron local0 local1
  local2 local3 local4 local5 local6 local7`.split(/\s+/);
const SEVERITIES = ['emerg', 'alert', 'crit', 'error', 'warn', 'notice', 'info', 'debug'];

/** `syslog:server=ADDRESS[,facility=…][,severity=…][,tag=…][,nohostname]`: the index of the server in the plan. */
export function syslog(cf: Conf, text: string): number {
  const given = new Map<string, string>();
  let address: SyslogServer['address'] | undefined;
  let hostname = cf.hostname;
  for (const parameter of text.slice('syslog:'.length).split(',')) {
    const [key = '', value] = parameter.split(/=(.*)/s);
    if (parameter === 'nohostname') {
      hostname = '';
      continue;
    }
    if (value === undefined || !['server', 'facility', 'severity', 'tag'].includes(key))
      throw cf.error(`unknown syslog parameter "${parameter}"`);
    if (given.has(key)) throw cf.error(`duplicate syslog "${key}"`);
    given.set(key, value);
    if (key === 'server') address = serverAddress(cf, value);
    if (key === 'facility' && !FACILITIES.includes(value))
      throw cf.error(`unknown syslog facility "${value}"`);
    if (key === 'severity' && !SEVERITIES.includes(value))
      throw cf.error(`unknown syslog severity "${value}"`);
    if (key === 'tag' && value.length > 32) throw cf.error('syslog tag length exceeds 32');
    if (key === 'tag' && /[^A-Za-z0-9_]/.test(value)) {
      throw cf.error('syslog "tag" only allows alphanumeric characters and underscore');
    }
  }
  if (address === undefined) throw cf.error('no syslog server specified');
  return cf.syslog({
    address,
    facility: FACILITIES.indexOf(given.get('facility') ?? 'local7'),
    severity: SEVERITIES.indexOf(given.get('severity') ?? 'info'),
    tag: given.get('tag') ?? 'nginx',
    hostname,
  });
}

function serverAddress(cf: Conf, url: string): SyslogServer['address'] {
  const parsed = parseUrl(url, { defaultPort: 514 });
  if (typeof parsed === 'string') throw cf.error(`${parsed} in syslog server "${url}"`);
  const [first] = parsed.addresses;
  if (first === undefined) throw cf.error(`host not found in syslog server "${url}"`);
  return first;
}
