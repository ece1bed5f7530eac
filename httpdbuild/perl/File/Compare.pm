# compare: 0 if two files are equal, 1 if they differ, -1 if one cannot be read.
package File::Compare;
use strict;
use warnings;
use Exporter 'import';

our @EXPORT    = qw(compare);
our @EXPORT_OK = qw(cmp compare_text);

sub content {
    my ($name) = @_;
    local $/ = undef;
    open my $in, '<:raw', $name or return;
    return scalar <$in>;
}

sub compare {
    my ( $one, $other ) = map { content($_) } @_[ 0, 1 ];
    return -1 unless defined $one && defined $other;
    return $one eq $other ? 0 : 1;
}

sub compare_text {
    my ( $one, $other ) = map { content($_) } @_[ 0, 1 ];
    return -1 unless defined $one && defined $other;
    s/\r?\n/\n/g for $one, $other;
    return $one eq $other ? 0 : 1;
}

sub cmp { goto &compare }

1;
