"""Two hundred programs that try to get out of a sandbox, or to take more than their share, in 25 families of eight.

Each is Python. It prints BREACH where it got what it must not get; what can only be seen from outside (a file, a
process that is left) the test looks for. None does harm where it runs free: before anything else a program makes sure
that a system call filter is in force, and what it would destroy is a folder of the test.
"""

# ruff: noqa: E501, ISC004  # programs in strings; broken up they would not be easier to read

from __future__ import annotations

HEAD = """
import array, ctypes, errno, fcntl, glob, mmap, os, re, resource, shutil, signal, socket, struct, subprocess, sys
import tempfile, threading, time
TOKEN, OUTSIDE, SECRET, PARENT, PORT, SOCKET = {values}
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(21, 0, 0, 0, 0) != 2:
    print('BREACH: no filter')
    sys.exit(3)
def attempt(action, *arguments, **named):
    try:
        return action(*arguments, **named)
    except BaseException as error:
        return error
def breach(found, what='got it'):
    if not isinstance(found, BaseException):
        print('BREACH:', what, repr(found)[:200], flush=True)
def refused(number, *arguments):
    # Refused by the filter or for want of rights, not merely wrong.
    given = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    if libc.syscall(number, *given) >= 0 or ctypes.get_errno() not in (errno.EPERM, errno.EACCES, errno.ENOSYS):
        print('BREACH: call', number, ctypes.get_errno(), flush=True)
def calls(x86_64, aarch64):
    return x86_64 if os.uname().machine == 'x86_64' else aarch64
def secret_in(text):
    if 'a-secret-' + 'of-the-test' in (text if isinstance(text, str) else repr(text)):
        print('BREACH: secret', flush=True)
def read(path):
    found = attempt(lambda: open(path, 'rb').read(1 << 20))
    return '' if isinstance(found, BaseException) else found.decode('utf-8', 'replace')
def write(path):
    attempt(lambda: open(path, 'w').write(TOKEN))
SLEEP = [sys.executable, '-c', 'import time; time.sleep(600)', TOKEN]
"""

FAMILIES: dict[str, tuple[str, ...]] = {
    "fork_bomb": (
        "while True:\n    attempt(os.fork)",
        "while True:\n    attempt(subprocess.Popen, SLEEP)",
        "while True:\n    attempt(threading.Thread(target=time.sleep, args=(600,)).start)",
        "while True:\n    if attempt(os.fork) == 0:\n        os.setsid()",
        "def bomb():\n    while True:\n        attempt(os.fork)\n        x = bytearray(1 << 16)\nbomb()",
        "for number in range(1, 64):\n    attempt(signal.signal, number, signal.SIG_IGN)\nwhile True:\n    attempt(os.fork)",
        "while True:\n    if attempt(os.fork) == 0:\n        os.execv(sys.executable, [sys.executable, *sys.argv])",
        "attempt(os.posix_spawn, '/bin/sh', ['sh', '-c', 'b() { b | b & }; b; sleep 600'], {})\ntime.sleep(600)",
    ),
    "disk_fill": (
        "out = open('fill', 'wb')\nwhile True:\n    out.write(bytes(1 << 20))",
        "number = 0\nwhile True:\n    number += 1\n    attempt(lambda: open(f'fill{number}', 'wb').write(bytes(1 << 16)))",
        "while True:\n    attempt(lambda: open('fill', 'ab').write(bytes(1 << 20)))",
        "attempt(lambda: os.posix_fallocate(os.open('fill', os.O_RDWR | os.O_CREAT), 0, 1 << 34))\n"
        "attempt(lambda: os.truncate('fill', 1 << 40))",
        "while True:\n    attempt(lambda: tempfile.NamedTemporaryFile(delete=False).write(bytes(1 << 20)))",
        "depth = 0\nwhile depth < 3000:\n    depth += 1\n    attempt(os.mkdir, 'deep')\n    attempt(os.chdir, 'deep')\n"
        "    attempt(os.chmod, '.', 0o000)",
        "for place in ('/dev/shm', '/var/tmp', '/tmp', '/run', '/'):\n"
        "    attempt(lambda: open(f'{place}/{TOKEN}', 'wb').write(bytes(1 << 28)))",
        "number = 0\nwhile True:\n    number += 1\n    attempt(os.mkdir, f'folder{number}')\n"
        "    attempt(os.symlink, 'x' * 200, f'link{number}')",
    ),
    "network": (
        "breach(attempt(socket.create_connection, ('127.0.0.1', PORT), 2))",
        "breach(attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', PORT))))",
        "breach(attempt(socket.create_connection, ('::1', PORT), 2))",
        "breach(attempt(socket.socket, socket.AF_INET, socket.SOCK_RAW, 1))",
        "def dial():\n    s = socket.socket(socket.AF_UNIX)\n    s.connect(SOCKET)\n    return s\nbreach(attempt(dial))",
        "def dial():\n    s = socket.socket(socket.AF_UNIX)\n    s.connect('\\0' + TOKEN)\n    return s\nbreach(attempt(dial))",
        "breach(attempt(socket.getaddrinfo, 'example.org', 80))",
        "def listen():\n    s = socket.socket()\n    s.bind(('0.0.0.0', 0))\n    s.listen()\n    return s\nbreach(attempt(listen))",
    ),
    "end_others": (
        "attempt(os.kill, os.getppid(), signal.SIGKILL)",
        "if os.getuid() or os.getpid() < 50:\n    attempt(os.kill, -1, signal.SIGKILL)",
        "attempt(os.kill, 1, signal.SIGKILL)\nattempt(os.kill, 1, signal.SIGTERM)",
        "if os.getpid() != PARENT:\n    breach(attempt(os.kill, PARENT, 0), 'sees the test')",
        "for number in (signal.SIGSTOP, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM):\n"
        "    attempt(os.kill, os.getppid(), number)\ntime.sleep(600)",
        "if os.getpgid(0) == os.getpid():\n    attempt(os.killpg, 0, signal.SIGKILL)",
        "attempt(resource.prlimit, os.getppid(), resource.RLIMIT_CPU, (0, 0))\n"
        "attempt(resource.prlimit, PARENT, resource.RLIMIT_NOFILE, (3, 3))\ntime.sleep(600)",
        "breach(attempt(os.setpriority, os.PRIO_USER, 0, 19), 'renices its user')",
    ),
    "link_out": (
        "attempt(os.symlink, OUTSIDE, 'out')\nwrite(f'out/{TOKEN}')",
        "attempt(os.symlink, f'{OUTSIDE}/canary', 'out')\nwrite('out')",
        "attempt(os.link, f'{OUTSIDE}/canary', 'out')\nwrite('out')",
        "write('../' * 20 + OUTSIDE.lstrip('/') + '/' + TOKEN)",
        "write('/proc/self/root' + OUTSIDE + '/' + TOKEN)\nwrite('/proc/1/root' + OUTSIDE + '/' + TOKEN)",
        "attempt(os.rename, OUTSIDE, 'taken')\nattempt(shutil.copytree, OUTSIDE, 'copy')\nbreach(attempt(os.listdir, 'copy'))",
        "for fd in range(3, 200):\n    attempt(os.open, f'../{TOKEN}', os.O_CREAT | os.O_WRONLY, dir_fd=fd)",
        "attempt(os.mkfifo, 'pipe')\nattempt(os.mknod, 'disk', 0o60666, os.makedev(254, 0))\n"
        "breach(attempt(lambda: open('disk', 'rb').read(1)))",
    ),
    "endless_output": (
        "while True:\n    print('x' * 1000)",
        "while True:\n    print('x' * 1000, file=sys.stderr)",
        "while True:\n    print('x')\n    print('y', file=sys.stderr, flush=True)",
        "while True:\n    os.write(1, bytes(1 << 16))",
        "subprocess.Popen([sys.executable, '-c', 'while True: print(1)', TOKEN])\ntime.sleep(600)",
        "os.fork()\nwhile True:\n    os.write(2, b'\\xff\\xfe' * 1000)",
        "sys.stdout.write('z' * (1 << 26))\nsys.stdout.flush()\nwhile True:\n    pass",
        "while True:\n    print('slow', flush=True)\n    time.sleep(0.01)",
    ),
    "memory": (
        "kept = []\nwhile True:\n    kept.append(bytearray(1 << 20))",
        "breach(attempt(lambda: len(bytearray(1 << 31))))",
        "kept = []\nwhile True:\n    m = mmap.mmap(-1, 1 << 24, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n"
        "    m.write(bytes(1 << 24))\n    kept.append(m)",
        "kept = []\nwhile True:\n    m = mmap.mmap(-1, 1 << 24)\n    m.write(bytes(1 << 24))\n    kept.append(m)",
        "for _ in range(12):\n    if attempt(os.fork) == 0:\n        break\nkept = bytearray(b'x') * (90 << 20)\ntime.sleep(600)",
        "text = 'x'\nwhile True:\n    text += text",
        "kept = {}\nwhile True:\n    kept[len(kept)] = array.array('q', range(10000))",
        "def deep(n):\n    return [bytes(1 << 20), deep(n + 1)]\nsys.setrecursionlimit(10 ** 9)\nattempt(deep, 0)",
    ),
    "processor": (
        "while True:\n    pass",
        "x = 7 ** (7 ** 9)",
        "re.match(r'(a+)+$', 'a' * 60 + 'b')",
        "subprocess.Popen([sys.executable, '-c', 'while True: pass', TOKEN]).wait()",
        "for _ in range(4):\n    threading.Thread(target=lambda: [0 for _ in iter(int, 1)]).start()",
        "signal.signal(signal.SIGXCPU, signal.SIG_IGN)\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True:\n    pass",
        "while True:\n    sorted(range(1000000), key=lambda n: -n)",
        "for _ in range(6):\n    os.fork()\nwhile True:\n    pass",
    ),
    "handles": (
        "kept = []\nwhile len(kept) < 5000:\n    kept.append(open('/dev/null'))\nprint('BREACH: 5000 files')",
        "while True:\n    if attempt(os.dup, 0) == 5000:\n        print('BREACH: 5000 files')\n        break\n    os.dup(0)",
        "kept = []\nwhile len(kept) < 5000:\n    kept += os.pipe()\nprint('BREACH: 5000 pipes')",
        "kept = []\nwhile len(kept) < 5000:\n    kept += socket.socketpair()\nprint('BREACH: 5000 sockets')",
        "import select\nkept = []\nwhile len(kept) < 5000:\n    kept.append(select.epoll())\nprint('BREACH: 5000')",
        "breach(attempt(os.memfd_create, 'hidden'), 'memory that no limit counts')",
        "kept = []\nwhile len(kept) < 5000:\n    kept.append(os.open('.', os.O_RDONLY))\nprint('BREACH: 5000 folders')",
        "breach(attempt(resource.setrlimit, resource.RLIMIT_NOFILE, (100000, 100000)), 'more handles')",
    ),
    "read_home": (
        "secret_in(read(SECRET))",
        "secret_in([read(path) for path in glob.glob(os.path.expanduser('~') + '/**', recursive=True)])",
        "breach(attempt(os.listdir, os.path.dirname(SECRET)))",
        "breach(attempt(lambda: open('/etc/shadow').read()))",
        "breach(attempt(lambda: open('/etc/passwd').read()))\nbreach(attempt(lambda: open('/etc/hosts').read()))",
        "for root, folders, names in os.walk('/'):\n    if TOKEN in ''.join(names) and root not in (os.getcwd(), '/tmp', '/box'):\n"
        "        print('BREACH:', root)\n    folders[:] = [f for f in folders if f not in ('proc', 'usr', 'sys', 'lib')]",
        "secret_in(read('/proc/self/root' + SECRET))\nsecret_in(read('/proc/1/cwd/' + SECRET))",
        "os.chdir('/')\nfor _ in range(50):\n    os.chdir('..')\nsecret_in(read(SECRET.lstrip('/')))",
    ),
    "other_memory": (
        "refused(calls(101, 117), 16, os.getppid(), 0, 0)",
        "refused(calls(101, 117), 16, 1, 0, 0)",
        "refused(calls(310, 270), os.getppid(), 0, 0, 0, 0, 0)",
        "refused(calls(311, 271), os.getppid(), 0, 0, 0, 0, 0)",
        "breach(attempt(lambda: open(f'/proc/{os.getppid()}/mem', 'rb')))\nbreach(attempt(lambda: open('/proc/1/mem', 'r+b')))",
        "breach(attempt(lambda: os.listdir('/proc/1/fd')))",
        "refused(438, 3, 0, 0)\nrefused(440, 3, 0, 0, 0, 0)",
        "refused(calls(101, 117), 0, 0, 0, 0)",
    ),
    "write_outside": (
        "write(f'{OUTSIDE}/{TOKEN}')",
        "write(f'/etc/{TOKEN}')\nwrite(f'/{TOKEN}')",
        "write(f'/usr/bin/{TOKEN}')\nwrite(f'{sys.prefix}/{TOKEN}')",
        "write(f'/var/tmp/{TOKEN}')\nwrite(f'/tmp/{TOKEN}')\nwrite(f'/dev/shm/{TOKEN}')",
        "write(os.path.dirname(SECRET) + '/' + TOKEN)",
        "write('/proc/sys/kernel/core_pattern')\nwrite('/sys/kernel/uevent_helper')\nwrite('/proc/sysrq-trigger')",
        "attempt(os.makedirs, f'{OUTSIDE}/{TOKEN}/deep')\nattempt(os.utime, f'{OUTSIDE}/canary', (0, 0))",
        "for path in ('/dev/sda', '/dev/vda', '/dev/mem', '/dev/kmsg', '/dev/nvme0n1'):\n"
        "    breach(attempt(os.open, path, os.O_WRONLY), path)",
    ),
    "leave_session": (
        "if os.fork() == 0:\n    os.setsid()\n    os.execv(SLEEP[0], SLEEP)",
        "subprocess.Popen(SLEEP, start_new_session=True)",
        "subprocess.Popen(SLEEP, start_new_session=True, stdin=-3, stdout=-3, stderr=-3)",
        "subprocess.Popen(['/bin/sh', '-c', f'nohup sleep 600 {TOKEN} >/dev/null 2>&1 &'])",
        "subprocess.Popen(['setsid', '-f', *SLEEP])",
        "if os.fork() == 0:\n    os.setpgid(0, 0)\n    for n in range(1, 64):\n        attempt(signal.signal, n, signal.SIG_IGN)\n"
        "    os.execv(SLEEP[0], SLEEP)",
        "if os.fork() == 0:\n    os.setsid()\n    for fd in range(100):\n        attempt(os.close, fd)\n    time.sleep(600)",
        "libc.prctl(36, 1, 0, 0, 0)\nif os.fork() == 0:\n    libc.prctl(1, 0, 0, 0, 0)\n    os.setsid()\n    time.sleep(600)",
    ),
    "daemon": (
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        os.execv(SLEEP[0], SLEEP)\n    os._exit(0)\nos.wait()",
        "if os.fork() == 0:\n    if os.fork() == 0:\n        time.sleep(3)\n        write(f'{OUTSIDE}/{TOKEN}')\n    os._exit(0)",
        "for _ in range(8):\n    if os.fork() == 0:\n        os.setsid()\n        if os.fork() == 0:\n            time.sleep(600)\n"
        "        os._exit(0)",
        "def again():\n    while True:\n        time.sleep(0.05)\n        if os.fork():\n            os._exit(0)\n"
        "        os.setsid()\nif os.fork() == 0:\n    again()",
        "if os.fork() == 0:\n    os.setsid()\n    while True:\n        time.sleep(0.01)\n        attempt(os.kill, os.getppid(), 9)",
        "a, b = os.pipe()\nif os.fork() == 0:\n    os.setsid()\n    os.close(b)\n    os.read(a, 1)\n    os.execv(SLEEP[0], SLEEP)",
        "if os.fork() == 0:\n    os.setsid()\n    while True:\n        attempt(os.fork)\n        time.sleep(0.05)",
        "subprocess.Popen([sys.executable, '-c', 'import os, time\\nif os.fork() == 0:\\n    os.setsid()\\n    time.sleep(600)', TOKEN])",
    ),
    "deaf": (
        "for n in range(1, 64):\n    attempt(signal.signal, n, signal.SIG_IGN)\ntime.sleep(600)",
        "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 64))\nwhile True:\n    pass",
        "signal.signal(signal.SIGTERM, lambda *a: os.fork())\nwhile True:\n    time.sleep(1)",
        "os.close(0)\nos.close(1)\nos.close(2)\ntime.sleep(600)",
        "os.kill(os.getpid(), signal.SIGSTOP)\ntime.sleep(600)",
        "os.read(0, 1 << 30)\nwhile True:\n    os.read(0, 1)\n    time.sleep(0.1)",
        "signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)\nsignal.signal(signal.SIGALRM, lambda *a: None)\nwhile True:\n    pass",
        "if os.fork() == 0:\n    time.sleep(600)\nos.wait()",
    ),
    "raise_limits": (
        "for name in ('CPU', 'NPROC', 'FSIZE', 'DATA', 'NOFILE'):\n"
        "    breach(attempt(resource.setrlimit, getattr(resource, 'RLIMIT_' + name), (-1, -1)), name)",
        "attempt(resource.setrlimit, resource.RLIMIT_CPU, (-1, -1))\nwhile True:\n    pass",
        "attempt(resource.setrlimit, resource.RLIMIT_DATA, (-1, -1))\nkept = []\nwhile True:\n    kept.append(bytearray(1 << 20))",
        "attempt(resource.setrlimit, resource.RLIMIT_FSIZE, (-1, -1))\nout = open('fill', 'wb')\n"
        "while True:\n    out.write(bytes(1 << 20))",
        "attempt(resource.setrlimit, resource.RLIMIT_NPROC, (-1, -1))\nwhile True:\n    attempt(os.fork)",
        "breach(attempt(os.setpriority, os.PRIO_PROCESS, 0, -20), 'first in line')",
        "breach(attempt(os.sched_setscheduler, 0, os.SCHED_FIFO, os.sched_param(99)), 'real time')",
        "for path in glob.glob('/sys/fs/cgroup/**/cgroup.procs', recursive=True):\n    breach(attempt(lambda: open(path, 'w')), path)",
    ),
    "environment": (
        "secret_in(dict(os.environ))",
        "secret_in(read('/proc/self/environ'))",
        "secret_in(read('/proc/1/environ'))",
        "secret_in(read(f'/proc/{os.getppid()}/environ'))",
        "secret_in([read(path) for path in glob.glob('/proc/[0-9]*/environ')])",
        "secret_in([read(path) for path in glob.glob('/proc/[0-9]*/cmdline')])\nsecret_in(read(f'/proc/{PARENT}/environ'))",
        "secret_in(subprocess.run(['env'], capture_output=True, text=True).stdout)",
        "secret_in(subprocess.run(['/bin/sh', '-lc', 'set; export; cat ~/.profile'], capture_output=True, text=True).stdout)",
    ),
    "namespaces": (
        "refused(calls(272, 97), 0x10000000)",
        "refused(calls(272, 97), 0x00020000)",
        "refused(calls(165, 40), 0, 0, 0, 0, 0)",
        "refused(calls(161, 51), ctypes.c_char_p(b'.'))",
        "refused(calls(308, 268), 0, 0)\nrefused(calls(155, 41), ctypes.c_char_p(b'.'), ctypes.c_char_p(b'.'))",
        "refused(calls(56, 220), 0x10000011, 0, 0, 0, 0)\nrefused(435, 0, 0)",
        "refused(calls(166, 39), ctypes.c_char_p(b'/proc'), 2)\nrefused(442, -100, ctypes.c_char_p(b'/'), 0, 0, 32)",
        "done = attempt(subprocess.run, ['unshare', '-Ur', 'id', '-u'], capture_output=True, text=True)\n"
        "if getattr(done, 'stdout', '').strip() == '0':\n    print('BREACH: root')",
    ),
    "privileges": (
        "attempt(os.setuid, 0)\nattempt(os.setgid, 0)\nbreach(attempt(lambda: open('/etc/shadow').read()))",
        "breach(attempt(os.setgroups, [0, 27]), 'groups') if os.getuid() else None\nbreach(attempt(os.chown, SECRET, 1, 1))",
        "header = ctypes.create_string_buffer(struct.pack('Ii', 0x20080522, 0))\n"
        "wanted = ctypes.create_string_buffer(b'\\xff' * 24)\n"
        "if libc.capset(header, wanted) == 0:\n    print('BREACH: capabilities')",
        "done = attempt(subprocess.run, ['su', '-c', 'id -u'], capture_output=True, text=True, timeout=5, stdin=-3)\n"
        "if '0' in getattr(done, 'stdout', '').split():\n    print('BREACH: su')",
        "done = attempt(subprocess.run, ['sudo', '-n', 'id', '-u'], capture_output=True, text=True, timeout=5, stdin=-3)\n"
        "if '0' in getattr(done, 'stdout', '').split():\n    print('BREACH: sudo')",
        "shutil.copy('/bin/sh', 'shell')\nattempt(os.chmod, 'shell', 0o6777)\n"
        "done = attempt(subprocess.run, ['./shell', '-c', f'cat {SECRET}'], capture_output=True, text=True)\n"
        "secret_in(getattr(done, 'stdout', ''))",
        "if libc.prctl(39, 0, 0, 0, 0) != 1:\n    print('BREACH: may gain rights')",
        "refused(calls(250, 219), 0, 0, 0, 0, 0)\nrefused(calls(248, 217), 0, 0, 0, 0, 0)",
    ),
    "kernel": (
        "refused(calls(321, 280), 0, 0, 0)",
        "refused(calls(298, 241), 0, 0, -1, -1, 0)",
        "refused(425, 1, 0)",
        "refused(calls(323, 282), 0)",
        "refused(calls(175, 105), 0, 0, 0)\nrefused(calls(313, 273), -1, 0, 0)",
        "refused(calls(246, 104), 0, 0, 0, 0)\nrefused(calls(169, 142), 0, 0, 0, 0)",
        "refused(calls(164, 170), 0, 0)\nrefused(calls(227, 112), 0, 0)",
        "refused(calls(304, 265), -100, 0, 0)\nrefused(calls(167, 224), 0, 0)\nrefused(calls(103, 116), 3, 0, 0)",
    ),
    "delete": (
        "attempt(shutil.rmtree, OUTSIDE)",
        "attempt(os.remove, f'{OUTSIDE}/canary')",
        "attempt(os.truncate, f'{OUTSIDE}/canary', 0)",
        "attempt(os.chmod, f'{OUTSIDE}/canary', 0o777)\nattempt(os.chown, f'{OUTSIDE}/canary', 1, 1)",
        "attempt(os.rename, f'{OUTSIDE}/canary', f'{OUTSIDE}/{TOKEN}')",
        "attempt(subprocess.run, ['rm', '-rf', OUTSIDE, SECRET, SOCKET])",
        "attempt(os.remove, SECRET)\nattempt(os.rmdir, os.path.dirname(SECRET))",
        "attempt(shutil.rmtree, '.')\nattempt(os.rmdir, os.getcwd())",
    ),
    "shared_objects": (
        "refused(calls(29, 194), 0x5EC0DE, 4096, 0o1666)",
        "refused(calls(64, 190), 0x5EC0DE, 1, 0o1666)",
        "refused(calls(68, 186), 0x5EC0DE, 0o1666)",
        "refused(calls(240, 180), ctypes.c_char_p(TOKEN.encode()), 0o102, 0o666, 0)",
        "import multiprocessing.shared_memory as shared\nattempt(shared.SharedMemory, TOKEN, True, 4096)",
        "import multiprocessing\nattempt(multiprocessing.Lock)\nattempt(multiprocessing.Queue)",
        "def bind():\n    s = socket.socket(socket.AF_UNIX)\n    s.bind(f'{OUTSIDE}/{TOKEN}')\nattempt(bind)",
        "attempt(os.mkfifo, f'{OUTSIDE}/{TOKEN}')\nattempt(os.mkfifo, f'/tmp/{TOKEN}')",
    ),
    "terminal": (
        "for fd in range(3):\n    attempt(fcntl.ioctl, fd, 0x5412, b'x')\nrefused(calls(16, 29), 0, 0x5412, 0)",
        "breach(attempt(os.open, '/dev/tty', os.O_RDWR))",
        "for path in glob.glob('/dev/pts/*'):\n    breach(attempt(os.open, path, os.O_RDWR), path)",
        "breach(attempt(os.open, '/dev/console', os.O_RDWR))",
        "import pty\nbreach(attempt(pty.openpty), 'a terminal')",
        "breach(attempt(os.open, '/dev/mem', os.O_RDONLY))\nbreach(attempt(os.open, '/dev/kvm', os.O_RDWR))",
        "breach(attempt(os.open, '/dev/fuse', os.O_RDWR))\nbreach(attempt(os.open, '/dev/net/tun', os.O_RDWR))",
        "print('\\x1b]0;owned\\x07\\x1b[2J')",
    ),
    "inherited": (
        "for fd in range(3, 500):\n    breach(attempt(os.fstat, fd), f'handle {fd}')",
        "for fd in range(3, 500):\n    breach(attempt(os.write, fd, b'{\"ended\": 0}\\n'), f'handle {fd}')",
        "for path in glob.glob('/proc/self/fd/*'):\n    secret_in(os.readlink(path) if os.path.lexists(path) else '')",
        "os.close(1)\nos.close(2)\nos._exit(0)",
        'print(\'{"ended": 0, "pid": 1}\')\nprint(\'{"error": "mine"}\', file=sys.stderr)\nsys.exit(5)',
        "os.dup2(1, 0)\nos.dup2(2, 1)\nprint('x')",
        "flags = fcntl.fcntl(1, fcntl.F_GETFL)\nfcntl.fcntl(1, fcntl.F_SETFL, flags | os.O_NONBLOCK)\n"
        "while True:\n    attempt(os.write, 1, bytes(1 << 20))",
        "attempt(fcntl.fcntl, 1, 1031, 1 << 24)\nwhile True:\n    attempt(os.write, 2, bytes(1 << 20))",
    ),
    "sudden_ends": (
        "os._exit(0)",
        "os.abort()",
        "ctypes.string_at(0)",
        "os.kill(os.getpid(), signal.SIGKILL)",
        "sys.setrecursionlimit(10 ** 8)\ndef f():\n    f()\nf()",
        "os.execv('/bin/sh', ['sh', '-c', f'sleep 600 {TOKEN} & exit 7'])",
        "os.kill(os.getpid(), signal.SIGSEGV)",
        "if os.fork():\n    os._exit(0)\ntime.sleep(600)",
    ),
}


def program(family: str, number: int, values: tuple[object, ...]) -> str:
    """One of them. ``values``: token, folder outside, file with a secret, pid of the test, port, socket's path."""
    return HEAD.replace("{values}", repr(values)) + FAMILIES[family][number] + "\n"
