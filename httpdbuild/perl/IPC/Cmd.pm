# can_run: the path of a program, if PATH has it.
package IPC::Cmd;
use strict;
use warnings;
use Exporter 'import';

our @EXPORT_OK = qw(can_run);

sub can_run {
    my ($name) = @_;
    return -f $name && -x _ ? $name : undef if $name =~ m{/};
    for my $dir ( split /:/, $ENV{PATH} // '' ) {
        return "$dir/$name" if -f "$dir/$name" && -x _;
    }
    return;
}

1;
