#!/usr/bin/env python3
"""Counts user instructions of an engine by executing one at a time (ptrace): for machines without counters.

  count-instructions.py ENGINE_PID [MONITOR_PID...]

Attaches to every thread of the processes, prints `ready`, and follows what they start: a process of the engine is a
monitor, one of a monitor is an init until it executes something. Each line on standard input is answered with
`engine N monitor N init N`, the instructions since the line before. The end of the input ends it; everything that was
followed runs on. Waiting costs no instruction, but what polls while it waits counts.
"""
import ctypes, os, signal, sys, threading

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.restype = ctypes.c_long
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
ptrace = libc.ptrace
CONT, DETACH, SINGLESTEP, SEIZE, INTERRUPT, LISTEN, GETEVENTMSG = 7, 17, 9, 0x4206, 0x4207, 0x4208, 0x4201
FORK, VFORK, CLONE, EXEC, STOP = 1, 2, 3, 4, 128
OPTIONS = 1 << FORK | 1 << VFORK | 1 << CLONE | 1 << EXEC
WALL = 0x40000000
ROLES = ('engine', 'monitor', 'init')

role, counts = {}, dict.fromkeys(ROLES, 0)
asked = []                      # lines that wait for their answer
ended = False


def read_lines():
    global ended
    for line in sys.stdin:
        asked.append(line)
        poke()
    ended = True
    poke()


def poke():
    """Calls `answer` on the thread that traces, also while it waits."""
    os.kill(os.getpid(), signal.SIGUSR1)


def answer():
    if ended:                   # something has to happen for the loop to see it
        for thread in list(role):
            ptrace(INTERRUPT, thread, None, None)
    while asked:
        asked.pop()
        print(' '.join(f'{name} {counts[name]}' for name in ROLES), flush=True)
        for name in ROLES:
            counts[name] = 0


def group_of(thread):
    try:
        with open(f'/proc/{thread}/status') as status:
            return next(int(line.split()[1]) for line in status if line.startswith('Tgid:'))
    except (OSError, StopIteration):
        return thread


def message(thread):
    value = ctypes.c_ulong()
    ptrace(GETEVENTMSG, thread, None, ctypes.byref(value))
    return value.value


def main():
    processes = [int(word) for word in sys.argv[1:]]
    for process in processes:
        for thread in map(int, os.listdir(f'/proc/{process}/task')):
            if ptrace(SEIZE, thread, None, OPTIONS) != 0:
                sys.exit(f'cannot follow {thread}: {os.strerror(ctypes.get_errno())}')
            role[thread] = 'engine' if process == processes[0] else 'monitor'
            ptrace(INTERRUPT, thread, None, None)
    signal.signal(signal.SIGUSR1, lambda *_: answer())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
    threading.Thread(target=read_lines, daemon=True).start()
    print('ready', flush=True)
    waitpid = os.waitpid
    while not ended:
        try:
            thread, status = waitpid(-1, WALL)
        except ChildProcessError:
            break
        if status & 0xff != 0x7f:               # it has ended
            role.pop(thread, None)
            continue
        number, event = status >> 8 & 0xff, status >> 16
        who = role.get(thread)
        deliver = 0
        if event == 0 and number == signal.SIGTRAP:
            if who:
                counts[who] += 1
        elif event in (FORK, VFORK, CLONE):
            child = message(thread)
            if group_of(child) == group_of(thread):
                role[child] = who
            else:
                role[child] = {'engine': 'monitor', 'monitor': 'init'}.get(who)
        elif event == EXEC and who == 'init' or event == STOP and thread in role and who is None:
            role[thread] = None
            ptrace(DETACH, thread, None, None)
            continue
        elif event == 0:
            deliver = number
        elif event == STOP and number in (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU):
            ptrace(LISTEN, thread, None, None)
            continue
        ptrace(SINGLESTEP, thread, None, deliver)
    detach()


def detach():
    """A thread that was stepping out of a call may have a trap pending that would end it without a tracer."""
    for thread in list(role):
        ptrace(INTERRUPT, thread, None, None)
    for thread in list(role):
        number = stopped(thread)
        while number is not None and trap_is_pending(thread):
            ptrace(CONT, thread, None, None)
            number = stopped(thread)
        if number is not None:
            ptrace(DETACH, thread, None, number)


def stopped(thread):
    """Waits for a stop; the signal to be delivered with it, or None if the thread has ended."""
    try:
        _, status = os.waitpid(thread, WALL)
    except ChildProcessError:
        return None
    if status & 0xff != 0x7f:
        return None
    number = status >> 8 & 0xff
    return number if status >> 16 == 0 and number != signal.SIGTRAP else 0


def trap_is_pending(thread):
    with open(f'/proc/{thread}/status') as status:
        pending = next(int(line.split()[1], 16) for line in status if line.startswith('SigPnd:'))
    return bool(pending & 1 << signal.SIGTRAP - 1)


main()
