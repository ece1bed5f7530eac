# Options of one letter. getopts takes the valid ones, followed by a colon if they have a
# value; getopt takes only those that have a value.
package Getopt::Std;
use strict;
use warnings;
use Exporter 'import';

our @EXPORT = qw(getopt getopts);

sub getopts {
    my ( $letters, $found ) = @_;
    return options( $letters, { map { $_ => 1 } $letters =~ /(.):/g }, $found );
}

sub getopt {
    my ( $letters, $found ) = @_;
    return options( undef, { map { $_ => 1 } split //, $letters }, $found );
}

sub options {
    my ( $letters, $valued, $found ) = @_;
    while ( @ARGV && $ARGV[0] =~ /^-(.)(.*)$/s ) {
        my ( $letter, $rest ) = ( $1, $2 );
        shift @ARGV;
        last if $letter eq '-';
        return 0 if defined $letters && index( $letters, $letter ) < 0;
        my $value = 1;
        if ( $valued->{$letter} ) {
            $value = $rest ne '' ? $rest : shift @ARGV;
            $rest  = '';
        }
        if ($found) { $found->{$letter} = $value }
        else { no strict 'refs'; ${"main::opt_$letter"} = $value }
        unshift @ARGV, "-$rest" if $rest ne '';
    }
    return 1;
}

1;
