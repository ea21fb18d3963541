/**
 * What `-v`, `-V` and `-h` print. `scripts/build-ts.mjs` writes these texts to files, from which the launcher
 * (bin/moonphase-nginx) answers without starting Node; a test compares the two.
 */
export const NGINX_VERSION = '1.31.2';

/**
 * Only what is there (or, for `--without-`, what is not) among nginx's own modules: scripts look for these words.
 * `--with-debug`, since the debugging log is always there: `error_log … debug` switches it on.
 */
export const CONFIGURE_ARGUMENTS: readonly string[] = [
  '--with-debug',
  '--without-http_fastcgi_module',
  '--without-http_uwsgi_module',
  '--without-http_scgi_module',
  '--without-http_ssi_module',
  '--without-http_userid_module',
  '--without-http_autoindex_module',
  '--without-mail_pop3_module',
  '--without-mail_imap_module',
  '--without-mail_smtp_module',
];

export function versionText(): string {
  return `nginx version: nginx/${NGINX_VERSION}\n`;
}

/** `openssl`: of the Node that the package was built with, and of the one that runs. */
export function configureText(built: string, running: string = built): string {
  const other = running === built ? '' : ` (running with OpenSSL ${running})`;
  return (
    `built with OpenSSL ${built}${other}\n` +
    'TLS SNI support enabled\n' +
    `configure arguments: ${CONFIGURE_ARGUMENTS.join(' ')}\n`
  );
}

export const HELP_TEXT = `Usage: nginx [-?hvVtTq] [-s signal] [-p prefix]
             [-e filename] [-c filename] [-g directives]

Options:
  -?,-h         : this help
  -v            : show version and exit
  -V            : show version and configure options then exit
  -t            : test configuration and exit
  -T            : test configuration, dump it and exit
  -q            : suppress non-error messages during configuration testing
  -s signal     : send signal to a master process: stop, quit, reopen, reload
  -p prefix     : set prefix path (default: the current directory)
  -e filename   : set error log file (default: logs/error.log)
  -c filename   : set configuration file (default: conf/nginx.conf)
  -g directives : set global directives out of configuration file

`;
