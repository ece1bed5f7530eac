# The directory of the running program.
package FindBin;
use strict;
use warnings;
use Cwd ();
use Exporter 'import';

our @EXPORT_OK = qw($Bin $Script $RealBin $RealScript);

my ( $dir, $name ) = $0 =~ m{^(.*/)?([^/]*)$}s;
our $Bin = Cwd::abs_path( defined $dir ? $dir : '.' );
our ( $Script, $RealBin, $RealScript ) = ( $name, $Bin, $name );

1;
