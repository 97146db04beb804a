// Package convert makes PDFs of office files and pictures with LibreOffice, so
// that they can be laid out, shown and signed as PDFs are.
//
// LibreOffice reads what strangers wrote with a million lines that are not ours.
// It therefore runs in a sandbox that ends with the file: its own user, process,
// network, mount and IPC namespaces (Linux, namespaces(7)). There is no network
// interface, not even loopback; the file system holds the program, its libraries
// and fonts, read-only, and one folder in memory; no process sees or outlives
// another; memory, processor, size and time are limited; no capability is left.
// Where the kernel does not let us, nothing is converted (ErrUnavailable).
//
// Limits: no system call is filtered, and a hole in the kernel is a way out. It
// does not judge its result: whoever signs it inspects it as any foreign PDF.
//
// The sandbox is made by a re-executed child of this program, its first process.
// Every program that converts calls ChildMain first in main, and in TestMain.
//
// Reference: user_namespaces(7), pivot_root(2), mount_setattr(2), setrlimit(2);
// LibreOffice's help, "Starting LibreOffice Software With Parameters".
package convert
