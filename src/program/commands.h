/*
 * commands.h: the commands of the program. Each returns the exit status;
 * argv[0] is the command's name.
 */
#ifndef OMB_PROGRAM_COMMANDS_H
#define OMB_PROGRAM_COMMANDS_H

extern int omb_command_init(int argc, char **argv);
extern int omb_command_list(int argc, char **argv);
extern int omb_command_info(int argc, char **argv);
extern int omb_command_verify(int argc, char **argv);
extern int omb_command_prune(int argc, char **argv);
extern int omb_command_extract(int argc, char **argv);
extern int omb_command_restore(int argc, char **argv);
extern int omb_command_wal_get(int argc, char **argv);
extern int omb_command_key(int argc, char **argv);
extern int omb_command_expire(int argc, char **argv);
extern int omb_command_pin(int argc, char **argv);
extern int omb_command_unpin(int argc, char **argv);
extern int omb_command_mark(int argc, char **argv);
extern int omb_command_mirror(int argc, char **argv);
/* Started by the server only. */
extern int omb_command_agent(int argc, char **argv);

#endif
