# copy, for names and handles, and move, for names of files.
package File::Copy;
use strict;
use warnings;
use Exporter 'import';

our @EXPORT    = qw(copy move);
our @EXPORT_OK = qw(cp mv);

sub copy {
    my ( $from, $to ) = @_;
    my ( $in, $out );
    if ( ref $from || ref \$from eq 'GLOB' ) { $in = $from }
    else { open $in, '<:raw', $from or return 0 }
    if ( ref $to || ref \$to eq 'GLOB' ) { $out = $to }
    else {
        $to .= '/' . ( split m{/}, $from )[-1] if -d $to;
        open $out, '>:raw', $to or return 0;
    }
    while ( my $got = read $in, my $part, 65536 ) {
        print {$out} $part or return 0;
    }
    return ref \$out eq 'GLOB' || ref $to ? 1 : close $out;
}

sub move {
    my ( $from, $to ) = @_;
    $to .= '/' . ( split m{/}, $from )[-1] if -d $to;
    return rename( $from, $to ) || copy( $from, $to ) && unlink $from;
}

sub cp { goto &copy }
sub mv { goto &move }

1;
