# What `npm install` builds when there is no prebuild. scripts/install.mjs runs it, after
# scripts/deps.mjs has put the libraries where `deps` points.
{
  'variables': {
    'deps%': '<!(node scripts/deps.mjs --print prefix)',
    # Prebuilds link one library more, for older systems: scripts/prebuild/floor.cc.
    'floor%': '',
    'embedded': '<(INTERMEDIATE_DIR)/embedded_lua.cc',
  },
  'targets': [
    {
      'target_name': 'moonphase',
      'sources': [
        '<!@(node scripts/sources.mjs)',
        '<(embedded)',
      ],
      'actions': [
        {
          'action_name': 'embed_lua',
          'message': 'embedding lua/',
          'inputs': [
            'scripts/embed-lua.mjs',
            '<!@(node scripts/embed-lua.mjs --list)',
          ],
          'outputs': ['<(embedded)'],
          'action': ['node', 'scripts/embed-lua.mjs', '<(embedded)'],
        },
      ],
      'include_dirs': [
        'native',
        '<(deps)/include',
        '<!(node -p "require(\'node-addon-api\').include_dir")',
      ],
      'defines': [
        'NAPI_VERSION=9',
        'NAPI_DISABLE_CPP_EXCEPTIONS',
        '_GNU_SOURCE',
        'PCRE2_CODE_UNIT_WIDTH=8',
        'PCRE2_STATIC',
        'NGHTTP2_STATICLIB',
      ],
      # Lua's errors unwind through our frames: exceptions stay on, so that destructors run.
      'cflags!': ['-fno-exceptions'],
      'cflags_cc!': [
        '-fno-exceptions',
        '-fno-rtti',
        '-std=gnu++14',
        '-std=gnu++17',
        '-std=gnu++1y',
      ],
      # node-gyp's -O3 and frame pointers would come last and win; -O2 is smaller, and a request runs
      # through much code once. Most of its functions are small and call into another file: they are
      # joined at link time.
      'configurations': {
        'Release': {'cflags!': ['-O3', '-fno-omit-frame-pointer']},
      },
      'cflags': [
        '-O2',
        '-flto=auto',
        '-fno-plt',
        '-g1',
        '-Wall',
        '-Wextra',
        '-fPIC',
        '-fexceptions',
        '-fvisibility=hidden',
        '-fno-strict-aliasing',
        '-fno-semantic-interposition',
      ],
      'cflags_cc': [
        '-std=gnu++20',
        '-fvisibility-inlines-hidden',
      ],
      'ldflags': [
        '-O2',
        '-flto=auto',
        '-Wl,-Bsymbolic',
        '-Wl,--build-id',
        '-Wl,-z,relro',
        '-Wl,-z,now',
        '-Wl,-z,nodelete',
        '-Wl,--version-script=<(module_root_dir)/native/exports.map',
      ],
      'libraries': [
        '-Wl,--whole-archive',
        '<(deps)/lib/libluajit.a',
        '-Wl,--no-whole-archive',
        '<(deps)/lib/libpcre2-8.a',
        '<(deps)/lib/libllhttp.a',
        '<(deps)/lib/libyyjson.a',
        '<(deps)/lib/libnghttp2.a',
        '<@(floor)',
        '-lm',
        '-ldl',
        '-lrt',
        '-lpthread',
      ],
    },
    {
      # What lua-resty-signal looks for, beside the addon.
      'target_name': 'restysignal',
      'type': 'shared_library',
      # Beside the addon also where gyp puts libraries into a folder of their own.
      'product_dir': '<(PRODUCT_DIR)',
      'product_name': 'librestysignal',
      'sources': ['native/lua/resty_signal.c'],
      'cflags': ['-O2', '-fPIC', '-Wall', '-Wextra', '-fvisibility=hidden'],
    },
    {
      # The same for lua-resty-balancer.
      'target_name': 'restychash',
      'type': 'shared_library',
      'product_dir': '<(PRODUCT_DIR)',
      'product_name': 'librestychash',
      'sources': ['native/lua/resty_chash.c'],
      'cflags': ['-O2', '-fPIC', '-Wall', '-Wextra', '-fvisibility=hidden'],
    },
  ],
}
