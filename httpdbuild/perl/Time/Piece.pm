# gmtime and localtime with methods, and dates that strptime reads and strftime formats.
package Time::Piece;
use strict;
use warnings;
use POSIX ();
use Exporter 'import';

our @EXPORT = qw(gmtime localtime);

sub gmtime    { return bless [ CORE::gmtime( given(@_) ) ],    __PACKAGE__ }
sub localtime { return bless [ CORE::localtime( given(@_) ) ], __PACKAGE__ }

sub given { return defined $_[-1] && !ref $_[-1] && $_[-1] =~ /^\d+$/ ? $_[-1] : time }

# A date as "1 Jul 2025", which is the only form in the sources of OpenSSL.
sub strptime {
    my ( undef, $text, $format ) = @_;
    my %month;
    @month{qw(Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec)} = ( 0 .. 11 );
    my ( $day, $name, $year ) = $text =~ /^\s*(\d+)\s+([A-Z][a-z]{2})\s+(\d{4})\s*$/;
    die "cannot read the date '$text'\n" if $format ne '%d %b %Y' || !defined $year || !exists $month{$name};
    return bless [ 0, 0, 0, $day, $month{$name}, $year - 1900 ], __PACKAGE__;
}

sub strftime {
    my ( $self, $format ) = @_;
    return POSIX::strftime( $format // '%a, %d %b %Y %H:%M:%S %Z', @{$self} );
}

1;
