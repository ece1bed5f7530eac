# Printing to a string: open HANDLE, '>', \$text. Perl has it in a compiled module, which
# Debian's perl-base lacks before Debian 12. Here, "open" is replaced for everything that is
# compiled after this module (perl -M), and the handle is tied.
package PerlIO::scalar;
use strict;
use warnings;

sub TIEHANDLE { my ( $class, $to ) = @_; ${$to} = ''; return bless { to => $to }, $class }

sub PRINT {
    my ( $self, @what ) = @_;
    ${ $self->{to} } .= join( defined $, ? $, : '', @what ) . ( defined $\ ? $\ : '' );
    return 1;
}

sub PRINTF {
    my ( $self, $format, @what ) = @_;
    ${ $self->{to} } .= sprintf $format, @what;
    return 1;
}

sub CLOSE { return 1 }

# A bareword is a handle in the package that opens it.
sub handle {
    my ( $name, $package ) = @_;
    return $name if $name =~ /::|'/;
    return $name =~ /^(STDIN|STDOUT|STDERR|ARGV|ARGVOUT)$/ ? "main::$name" : "${package}::$name";
}

sub replaced (*;$@) {
    no strict 'refs';
    if ( @_ == 3 && ref $_[2] eq 'SCALAR' && $_[1] eq '>' ) {
        return tie *{ $_[0] }, __PACKAGE__, $_[2];
    }
    if ( defined $_[0] && !ref $_[0] && ref \$_[0] ne 'GLOB' ) {
        my $name = handle( $_[0], scalar caller );
        return @_ == 1 ? CORE::open($name) : @_ == 2 ? CORE::open( $name, $_[1] ) : CORE::open( $name, $_[1], @_[ 2 .. $#_ ] );
    }
    return @_ == 2 ? CORE::open( $_[0], $_[1] ) : CORE::open( $_[0], $_[1], @_[ 2 .. $#_ ] );
}

BEGIN { no warnings 'once'; *CORE::GLOBAL::open = \&replaced }

1;
